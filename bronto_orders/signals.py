"""Signals that this app sends.

All are sent with ``send_robust``: a receiver that raises is logged and hurts nobody.
"""

from __future__ import annotations

from django.dispatch import Signal

#: Orders were marked as changed by a bulk write or by their line items, which send no ``post_save`` of the order.
#: Sent inside the transaction that marks. Arguments: ``using`` (database alias).
orders_marked = Signal()

#: Bronto has acknowledged an order, or had its content already; if the shop has changed the order meanwhile, another
#: push follows. Sent after the result is committed.
#: Arguments: ``order_id`` (primary key), ``account``, ``using``.
order_synced = Signal()

#: Bronto refused an order; it waits for the next change. Arguments: as above, and ``reason`` (machine code).
order_rejected = Signal()

#: An order was not sent, for a reason that is not an error of Bronto's. Arguments: as above, and ``reason``.
order_skipped = Signal()

#: Bronto has confirmed that an order is gone there, as an erasure or a deletion by the shop asked for. Sender:
#: ``Tombstone``, after the result is committed.
#: Arguments: ``account``, ``customer_order_id``, ``kind`` (``erased``, ``deleted``), ``using``.
order_deleted = Signal()

#: A request was made and its result is committed, whatever it was: the place for metrics. Sender: ``SyncAttempt``.
#: Arguments: ``order_id``, ``account``, ``operation`` (``add``, ``update``), ``outcome`` (of ``SyncAttempt.Outcome``),
#: ``http_status`` (None without an answer), ``seconds`` (that the request took), ``trigger``, ``using``.
push_attempted = Signal()

#: Sending for an account stopped. Arguments: ``account``, ``reason`` (machine code), ``using``.
account_held = Signal()

#: Sending for an account goes on after a hold. Arguments: ``account``, ``using``.
account_released = Signal()
