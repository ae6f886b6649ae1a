//! Blocks: seats that an administrator holds back from sale.

use super::{facade::ConcertFacade, promoter::Actor};
use crate::{
    application::{administration, error::AppError, event},
    domain::{
        administration::{Action, ActionKind},
        booking::{BlockedSeats, change_blocks},
        concert::SeatStatus,
        id::{PerformanceId, SeatId},
        refusal::Refusal,
        text::Reason,
    },
};

/// Seats of a performance to block or to unblock, all or none.
#[derive(Clone, Debug)]
pub struct ChangeBlocks {
    /// The performance of all seats.
    pub performance_id: PerformanceId,
    /// The seats, each once.
    pub seat_ids: Vec<SeatId>,
    /// Whether they are blocked afterwards.
    pub is_blocked: bool,
    /// The reason, for the action log.
    pub reason: Reason,
}

impl ChangeBlocks {
    fn kind(&self) -> ActionKind {
        if self.is_blocked { ActionKind::SeatsBlocked } else { ActionKind::SeatsUnblocked }
    }

    fn details(&self) -> String {
        let ids: Vec<_> = self.seat_ids.iter().map(ToString::to_string).collect();
        format!("{} seats: {}", ids.len(), ids.join(", "))
    }
}

impl ConcertFacade {
    /// Blocks seats, or unblocks them, all or none. Blocked seats can't be held. Repeating the request changes no seat.
    ///
    /// # Errors
    ///
    /// [`Refusal::PerformanceNotFound`], [`Refusal::SeatNotFound`]; [`Refusal::SeatsUnavailable`] if a seat to be
    /// blocked is held or sold; [`Refusal::Forbidden`] if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the performance (shared), its choices, the seats and the actor's account (shared), in this order. A hold
    /// locks the seats, too, so the request that locks a seat first decides about it. Other blocks wait for the lock of
    /// the choices.
    pub async fn change_blocks(&self, actor: Actor, command: &ChangeBlocks) -> Result<BlockedSeats, AppError> {
        self.ports.retry_on_contention(|| self.try_change_blocks(actor, command)).await
    }

    async fn try_change_blocks(&self, actor: Actor, command: &ChangeBlocks) -> Result<BlockedSeats, AppError> {
        let id = command.performance_id;
        let mut uow = self.ports.back_office.begin().await?;
        if uow.concerts().share_performances(&[id]).await?.is_empty() {
            return Err(Refusal::PerformanceNotFound.into());
        }
        // Overlapping blocks and unblocks may change different seats. On a cluster they conflict by this row alone.
        uow.choices().lock_choices(&[id]).await?;
        let seats: Vec<_> = command.seat_ids.iter().map(|seat| (*seat, id)).collect();
        let locked = uow.seat_claims().lock_seats(&seats).await?;
        let now = self.ports.now();
        let blocked = change_blocks(locked, seats.len(), command.is_blocked, now)?;
        let changed = &blocked.changed;
        let status = if command.is_blocked {
            uow.seat_claims().delete_expired_claims(changed, now).await?;
            uow.seat_claims().insert_blocks(id, changed, now).await?;
            SeatStatus::Blocked
        } else {
            uow.seat_claims().release_blocks(changed, now).await?;
            SeatStatus::Available
        };
        let statuses = changed.iter().map(|seat| (id, *seat, status)).collect();
        event::record(&self.ports, &mut *uow, now, Vec::new(), statuses).await?;
        if let Some(actor) = actor {
            let action = Action::new(actor, command.kind(), id).with_details(command.details());
            let action = action.with_reason(command.reason.clone());
            administration::record(&self.ports, &mut *uow, now, action).await?;
        }
        uow.commit().await?;
        self.changes.increment();
        Ok(blocked)
    }
}
