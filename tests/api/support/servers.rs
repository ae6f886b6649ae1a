//! Runs a race against one server, against two, and against two with different clocks.

use std::{future::Future, panic::resume_unwind};

use sqlx::mysql::MySqlConnectOptions;
use tokio::runtime::Builder;

use super::{Tables, TestApp};

/// The servers of a race, before they are started.
#[derive(Clone)]
pub(crate) struct Servers {
    /// The options of their database.
    pub(crate) options: MySqlConnectOptions,
    /// The number of seconds by which each server's clock is ahead of the test's.
    pub(crate) skews: &'static [i64],
}

impl Servers {
    pub(crate) fn start(&self) -> TestApp {
        self.start_with(&[])
    }

    /// Servers with some variables set.
    pub(crate) fn start_with(&self, settings: &[(&str, &str)]) -> TestApp {
        TestApp::start_skewed(self.options.clone(), self.skews, settings)
    }

    /// The tables of their database.
    pub(crate) async fn tables(&self) -> Tables {
        Tables::of(&self.options).await
    }

    /// Runs a test on two threads of its own, so that concurrent requests run in parallel.
    pub(crate) async fn run_multi_threaded<F>(
        options: MySqlConnectOptions,
        skews: &'static [i64],
        test: impl FnOnce(Self) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let outcome = runtime.spawn(test(Self { options, skews })).await;
        runtime.shutdown_background();
        if let Err(error) = outcome {
            resume_unwind(error.into_panic());
        }
    }
}

/// Makes two tests of each of these functions: against one server, and against two on one database.
macro_rules! one_and_two_servers {
    ($($race:ident),+ $(,)?) => {
        mod one_server {
            $(#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
            async fn $race(_: sqlx::mysql::MySqlPoolOptions, options: sqlx::mysql::MySqlConnectOptions) {
                crate::support::Servers::run_multi_threaded(options, &[0], super::$race).await;
            })+
        }
        mod two_servers {
            $(#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
            async fn $race(_: sqlx::mysql::MySqlPoolOptions, options: sqlx::mysql::MySqlConnectOptions) {
                crate::support::Servers::run_multi_threaded(options, &[0, 0], super::$race).await;
            })+
        }
    };
}

/// Makes a test of each of these functions: against two servers whose clocks are three seconds apart.
macro_rules! skewed_clocks {
    ($($race:ident),+ $(,)?) => {
        mod skewed_clocks {
            $(#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
            async fn $race(_: sqlx::mysql::MySqlPoolOptions, options: sqlx::mysql::MySqlConnectOptions) {
                crate::support::Servers::run_multi_threaded(options, &[0, 3], super::$race).await;
            })+
        }
    };
}

pub(crate) use {one_and_two_servers, skewed_clocks};
