"""What the console shows of an order, a call, a fault and so on: ready words, shortened and fit to be read."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from bronto_orders.sandbox.excerpts import TEXT_LIMIT, read_body, shorten, show_body, show_json
from bronto_orders.sandbox.switches import Switch

Row = dict[str, Any]

QUERY_LIMIT: Final = 2_000
EVENT_KINDS: Final = {"orderAdded": "Order added", "stateChange": "State changed", "forced": "Forced"}


def order_row(order: dict[str, Any]) -> Row:
    items = len(order["lineItems"])
    return {
        "key": f"order-{order['orderId']}",
        "number": shorten(order["customerOrderId"] or order["orderId"]),
        "processed": order["states"]["processed"],
        "shipped": order["states"]["shipped"],
        "email": shorten(order["emailAddress"] or ""),
        "total": shorten(f"{order['grandTotal']} {order['currency'] or ''}".strip()),
        "tracked": order["hasTracking"],
        "items": f"{items:,} item{'' if items == 1 else 's'}",
        "updated": moment(order["updatedDate"]),
        "document": show_json(order),
    }


def call_row(call: dict[str, Any]) -> Row:
    status = call["status"]
    bodies = [("Request body", call["requestBody"]), ("Response body", call["responseBody"])]
    return {
        "key": f"call-{call['time']}-{call['durationMs']}",
        "time": moment(call["time"]),
        "duration": f"{call['durationMs']:,.{0 if call['durationMs'] >= 10 else 1}f} ms",
        "method": shorten(call["method"]),
        "path": shorten(call["path"]),
        "about": shorten(_about(call)),
        "query": shorten(call["query"], QUERY_LIMIT),
        "status": _phrase(status),
        "mood": "bad" if status is None or status >= 500 else "poor" if status >= 400 else "good",
        "reason": shorten(call["reason"], TEXT_LIMIT),
        "fault": call["fault"],
        "bodies": [
            {"label": label, "text": show_body(body), "size": f"{len(body):,}"} for label, body in bodies if body
        ],
    }


def event_row(event: dict[str, Any]) -> Row:
    return {
        "key": f"event-{event['orderId']}-{event['firedDate']}",
        "kind": EVENT_KINDS.get(event["kind"], event["kind"]),
        "number": shorten(event["customerOrderId"] or event["orderId"]),
        "email": shorten(event["emailAddress"] or ""),
        "fired": moment(event["firedDate"]),
    }


def contact_row(contact: dict[str, Any]) -> Row:
    email = shorten(contact["emailAddress"])
    return {
        "key": f"contact-{email}",
        "email": email,
        "status": contact["status"],
        "made": moment(contact["createdDate"]),
    }


def return_row(taken: dict[str, Any]) -> Row:
    number = shorten(taken["customerOrderId"])
    return {"key": f"return-{number}", "number": number, "made": moment(taken["createdDate"])}


def switch_row(switch: Switch, value: Any) -> Row:
    is_list = isinstance(switch.default, tuple)
    return {
        "name": switch.name,
        "about": switch.about,
        "basis": switch.basis,
        "value": _setting(value),
        "default": _setting(switch.default),
        "changed": value != switch.default,
        "choices": () if is_list else switch.choices,
        "is_number": isinstance(switch.default, int),
        "least": str(switch.least),
        "most": str(switch.most),
    }


def fault_row(fault: dict[str, Any]) -> Row:
    remaining = fault["remaining"]
    return {
        "calls": _victims(fault),
        "effect": ", ".join(_effects(fault)),
        "hits": f"{fault['hits']:,}",
        "to_come": "no limit" if remaining is None else f"{remaining:,} to come" if remaining else "none to come",
        "is_spent": remaining == 0,
    }


def moment(text: str) -> Row:
    """A moment of the wire, with its date if that is not today's."""
    day, clock = text[:10], text[11:19]
    return {"iso": text, "clock": clock, "day": "" if day == datetime.now(UTC).date().isoformat() else day}


def _about(call: dict[str, Any]) -> str:
    """What the path of a search or an add does not tell: the parameters, or the shop's id."""
    if call["path"] != "/orders":
        return ""
    if call["method"] == "GET":
        return f"?{call['query']}"
    body = read_body(call["requestBody"])
    found = body.get("customerOrderId") if isinstance(body, dict) else None
    return found if isinstance(found, str) else ""


def _phrase(status: int | None) -> str:
    if status is None:
        return "No answer"
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _setting(value: Any) -> str:
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value)


def _victims(fault: dict[str, Any]) -> str:
    match, words = fault["match"], []
    words.append("All" if fault["probability"] == 1 else f"{fault['probability']:.0%} of")
    words += [match["method"], "calls"]
    if match["path"]:
        words.append(f"to {shorten(match['path'])}")
    if match["customerOrderId"] is not None:
        words.append(f"about order {shorten(match['customerOrderId'])}")
    if fault["skip"]:
        words.append(f"after the first {fault['skip']:,}")
    if fault["seconds"] is not None:
        words.append(f"for {fault['seconds']:g} s")
    return " ".join(filter(None, words))


def _effects(fault: dict[str, Any]) -> list[str]:
    longest = fault["latency"] + fault["jitter"]
    waits = f"{fault['latency']:g} to {longest:g}" if fault["jitter"] else f"{longest:g}"
    takes_no_answer = any(fault[end] for end in ("drop", "reset", "timeout"))
    effects = [
        (fault["revokeTokens"], "end all access tokens"),
        (longest, f"wait {waits} s{', less and less' if fault['fade'] else ''}"),
        (fault["status"] is not None, f"answer {_phrase(fault['status'])}: {shorten(fault['reason'])}"),
        *((True, f"{name}: {shorten(value)}") for name, value in fault["headers"].items()),
        (fault["drop"], "close the connection without an answer"),
        (fault["reset"], "reset the connection"),
        (fault["timeout"], "never answer"),
        (fault["truncate"], "break off half way through the answer"),
        (fault["drip"], f"spread the answer over {fault['drip']:g} s"),
        (
            fault["status"] is not None or takes_no_answer,
            "after taking effect" if fault["apply"] == "after" else "without taking effect",
        ),
    ]
    return [words for applies, words in effects if applies]
