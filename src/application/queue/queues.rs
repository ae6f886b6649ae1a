//! The facades of the waiting queue, started with the reads and lanes that they share.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{
    admission::AdmissionFacade, draw::DrawFacade, estimate::PaceHistories, gate::GateFacade, lane::QueueWork,
    membership::MembershipFacade, presence::PresenceRecorder, snapshot::QueueSnapshotReader, stream::QueueStreamFacade,
    token_info::QueueTokenFacade,
};
use crate::{
    application::{
        Ports,
        lane::{LanePorts, LaneSettings, Lanes},
        loader::Loader,
    },
    domain::booking::HoldPolicy,
};

/// The use cases of the waiting queue.
pub struct Queues {
    /// Joining and leaving.
    pub membership: MembershipFacade,
    /// Tokens and their positions.
    pub tokens: Arc<QueueTokenFacade>,
    /// The checks in front of gated operations.
    pub gate: Arc<GateFacade>,
    /// Streams of a token's changes.
    pub streams: QueueStreamFacade,
    /// The ticks that admit users.
    pub admission: AdmissionFacade,
    /// The public draws.
    pub draws: DrawFacade,
}

impl Queues {
    /// Starts the lanes of joining, leaving and presence, and the shared reads of snapshots and tokens, on `tasks`.
    pub fn start(
        ports: &Ports,
        policy: HoldPolicy,
        requires_verified_email: bool,
        settings: LaneSettings,
        lane_ports: &LanePorts,
        tasks: &TaskTracker,
    ) -> Self {
        let pace_histories = Arc::<PaceHistories>::default();
        let work = QueueWork::new(ports.clone(), policy, requires_verified_email, Arc::clone(&pace_histories));
        let lanes = Lanes::new(work, settings, lane_ports.clone());
        let snapshot_reader = QueueSnapshotReader::new(pace_histories);
        let snapshots = Arc::new(Loader::start(snapshot_reader.clone(), &ports.database, tasks));
        let presence = PresenceRecorder::new(ports, settings, lane_ports);
        let tokens = Arc::new(QueueTokenFacade::start(ports, Arc::clone(&snapshots), presence, tasks));
        Self {
            membership: MembershipFacade::new(lanes, snapshot_reader.clone(), Arc::clone(&tokens)),
            gate: Arc::new(GateFacade::start(ports, Arc::clone(&tokens), tasks)),
            streams: QueueStreamFacade::new(Arc::clone(&tokens), tasks),
            tokens,
            admission: AdmissionFacade::new(ports.clone(), snapshots, snapshot_reader),
            draws: DrawFacade::new(ports),
        }
    }
}
