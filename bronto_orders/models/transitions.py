"""Every way in which an order's state may change, and what causes it.

::

    (new) ──> pending ──claim──> sending ──acknowledged──────> synced
                 ^                 │  ├────refused, given up─> rejected
                 │                 │  └────cannot be sent────> skipped
                 ├─deferred, handed back, changed meanwhile
                 ├─changed or resynced: synced, rejected, skipped
                 ├─the resync is cancelled ──────────────────> synced
                 └─ignored by staff, as rejected may be ─────> skipped
    each state ──────the customer is erased─────────────────> skipped

The statements stand where they are made: births and marks in ``deliverable``, what staff do in ``querysets``, all
others in ``delivery.claims``. The tests hold this table against what they see in the database.
"""

from __future__ import annotations

from bronto_orders.models.deliverable import SyncState

#: From what to what, and by what; from None stands for the INSERT. Writes that leave the state as it is are not here:
#: a change of an order that waits or is being sent, and a claim that takes over a lease that has run out.
TRANSITIONS: dict[tuple[SyncState | None, SyncState], str] = {
    (None, SyncState.PENDING): "the shop inserts it",
    (SyncState.PENDING, SyncState.SENDING): "a worker claims it",
    (SyncState.SENDING, SyncState.SYNCED): "Bronto acknowledges it, or has this very content already",
    (SyncState.SENDING, SyncState.REJECTED): "Bronto refuses it, or it is given up: poison, id_taken, crash_loop",
    (SyncState.SENDING, SyncState.SKIPPED): "it cannot be sent: no_contact, invalid:<field>; or its customer is erased",
    (SyncState.SENDING, SyncState.PENDING): "it is deferred, handed back unsent, or has changed since the claim",
    (SyncState.PENDING, SyncState.SYNCED): "a person cancels the resync that queued it",
    (SyncState.PENDING, SyncState.SKIPPED): "a person marks it as ignored, or its customer is erased",
    (SyncState.REJECTED, SyncState.SKIPPED): "a person marks it as ignored, or its customer is erased",
    (SyncState.SYNCED, SyncState.SKIPPED): "its customer is erased",
    (SyncState.SYNCED, SyncState.PENDING): "the shop changes it, or a person resyncs it",
    (SyncState.REJECTED, SyncState.PENDING): "the shop changes it, or a person resyncs it",
    (SyncState.SKIPPED, SyncState.PENDING): "the shop changes it, or a person resyncs it",
}
