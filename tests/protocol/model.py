"""The delivery protocol for one order and two workers, small enough that every interleaving can be tried.

``steps`` yields all that may happen next: what the shop, the workers, the service and time do. Each function names the
code that it mirrors. ``explore`` follows every step from every state and returns a shortest way to each kind of thing
that goes wrong. What is left out, and why nothing is lost by it:

* Time goes in ticks. Only the order in which spans end matters, and ``Rules`` keeps that of the settings: the lease of
  an add covers a call; that of an update covers a call and the settle time; the settle time is longer than the service
  is late; a request may outlive the lease of an add. The guard's margin is for clocks that drift; here none does.
* A worker may be slow, or stopped, for any number of ticks between any two steps. ``send`` is one step: nothing stops
  a worker between its look at the clock and the socket, unless ``guarded`` is taken away.
* Back-off is zero: a longer one is an order that nobody claims for a while, and that may happen anyway.
* Revisions are only ever compared, so two comparisons stand for them: ``moved_on`` and ``acked``. That keeps the model
  finite without a limit on kills, time-outs and lost leases; only the shop's saves are counted.
* An answer that tells nothing of the order (429, 401, 403, unreachable) does what a hand-back does. Orders that are
  refused or given up are promised nothing. One deletion cannot take the order away twice, so there are no ``flips``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The protocol's rules, to be taken away one by one, its spans of time, and what the world may do."""

    settles: bool = True  # after an update of unknown fate, nothing newer is sent before settle_until
    long_leases: bool = True  # the lease of an update covers the settle time too
    guarded: bool = True  # nothing is sent when the lease would not cover it
    fenced: bool = True  # results are recorded only while the lease stands
    repairs: bool = True  # otherwise the order is pushed once more
    reads_after_claim: bool = True
    forgets: bool = True  # last_sent_hash is emptied when the service may have changed without our knowing
    takes_over: bool = True  # a row whose lease has run out is due

    start: int = 1  # ticks from a claim in which the request may go out; 10 s or 5 s by default
    deadline: int = 1  # of a call: 15 s
    settle: int = 2  # 75 s
    late: int = 1  # how long after its client has given up a request may land: less than 75 s

    saves: int = 2
    alternating: bool = False  # the shop goes to and fro between two contents, instead of writing new ones
    kills: bool = True
    deletions: int = 0  # of the order at the service, by somebody else
    unique_numbers: bool = True  # the service adds no number twice

    def lease(self, *, adding: bool) -> int:
        """add_lease_seconds, update_lease_seconds."""
        return self.start + self.deadline + (0 if adding or not self.long_leases else self.settle)

    def same(self, one: int, other: int) -> bool:
        """Whether two versions have the same content, and so the same hash."""
        return one == other or (self.alternating and one > 0 and other > 0 and (one - other) % 2 == 0)


class Row(NamedTuple):
    """The order's row."""

    version: int = 1  # what the shop has written last
    due: int | None = 0  # due_at: ticks until it may be claimed; None when nothing is owed
    leased: bool = False  # lease_token is set
    moved_on: bool = False  # revision > lease_revision
    acked: bool = False  # acked_revision == revision
    settle: int | None = None  # settle_until
    presence: str = "absent"
    sent: int = 0  # the version that last_sent_hash and last_sent are of; 0 when the hash is empty

    def mark(self) -> Row:
        """Mirror models.deliverable.MARKS."""
        return self._replace(moved_on=self.leased, acked=False, due=0 if self.due is None else self.due)

    def waiting(self) -> Row:
        """Mirror claims.waiting."""
        return self._replace(due=0, leased=False, moved_on=False)

    def at_rest(self) -> Row:
        """Mirror claims.at_rest, with the acknowledgement beside it."""
        return self._replace(due=0 if self.moved_on else None, acked=not self.moved_on, leased=False, moved_on=False)


class Request(NamedTuple):
    """An add or an update."""

    operation: str = ""
    version: int = 0
    base: int = 0  # an update that is certain clears what this version has and its own has not; 0: every empty field
    left: int = 0  # ticks in which it may still land


class Worker(NamedTuple):
    """A delivery run, as far as it has come with the order."""

    step: str = "idle"  # looked, claimed, ready, sent, answered
    holds: bool = False  # its token is the row's
    start: int = 0  # ticks in which its request may go out; -1 when it is too late
    request: Request = Request()
    answer: str = ""


class Remote(NamedTuple):
    """The order at the service."""

    version: int = 0  # 0: there is none
    whole: bool = True  # False: something that the shop has emptied is still there
    orders: int = 0  # how many orders of this number there are


class State(NamedTuple):
    """All there is. ``strays`` are requests that nobody waits for any more."""

    row: Row = Row()
    remote: Remote = Remote()
    strays: frozenset[Request] = frozenset()
    workers: tuple[Worker, Worker] = (Worker(), Worker())
    deletions: int = 0

    def put(self, who: int, worker: Worker) -> State:
        """Return the state with another worker in this place."""
        workers = (worker, self.workers[1]) if who == 0 else (self.workers[0], worker)
        return State(self.row, self.remote, self.strays, workers, self.deletions)  # much faster than _replace()

    def under_way(self) -> list[Request]:
        """Return all requests that may still land."""
        return [*self.strays, *(worker.request for worker in self.workers if worker.step == "sent")]


#: What happens, and what is then. What progress must not need begins with "!": faults, dawdling, the shop's saves.
Steps = Iterator[tuple[str, State]]


def shop(state: State, rules: Rules) -> Steps:
    """Deliverable.save_base: the content and the mark, in one statement."""
    if state.row.version <= rules.saves:
        yield "! the shop saves", state._replace(row=state.row.mark()._replace(version=state.row.version + 1))


def claim(state: State, who: int, rules: Rules) -> Steps:
    """OrderQuerySet.due and claims._lease: take the row, or take it over when its lease has run out."""
    row, me = state.row, state.workers[who]
    if me.step == "idle" and not rules.reads_after_claim:
        yield f"reads v{row.version}", state.put(who, Worker("looked", request=Request(version=row.version)))
        return
    if row.due != 0 or row.settle or (row.leased and not rules.takes_over):
        return
    never_tried = row.presence == "absent" and not row.leased
    claimed = row._replace(due=rules.lease(adding=never_tried), leased=True, moved_on=False)
    if row.leased and row.presence == "absent":
        claimed = claimed._replace(presence="unsure")
    if row.leased and rules.forgets:
        claimed = claimed._replace(sent=0)
    other = state.workers[1 - who]._replace(holds=False)
    claimer = Worker("claimed", holds=True, start=rules.start, request=me.request)
    label = "takes the row over" if row.leased else "claims the row"
    yield label, state._replace(row=claimed).put(who, claimer).put(1 - who, other)


def read(state: State, who: int, rules: Rules) -> Steps:
    """The SELECT of claims.claim, then pushes.next_push."""
    row, me = state.row, state.workers[who]
    if not me.holds:
        yield "finds its claim taken over", state.put(who, Worker())
        return
    version = me.request.version or row.version
    certain_of = row.sent if row.settle is None else 0
    if row.presence == "present" and certain_of and rules.same(certain_of, version):
        if rules.same(state.remote.version, version):  # what the service has is as good as this version
            state = state._replace(remote=state.remote._replace(version=version))
        yield f"reads v{version}: unchanged", state.put(who, Worker("answered", me.holds, answer="unchanged"))
        return
    request = Request("add", version) if row.presence == "absent" else Request("update", version, certain_of)
    yield f"reads v{version}", state.put(who, me._replace(step="ready", request=request))


def send(state: State, who: int, rules: Rules) -> Steps:
    """The guard at the top of sending.send; claims.hand_back, which may always happen: the account may be held."""
    me = state.workers[who]
    if me.start >= 0 or not rules.guarded:
        request = me.request._replace(left=rules.deadline + rules.late)
        yield f"sends {_name(request)}", state.put(who, me._replace(step="sent", start=0, request=request))
    label = "! hands back" if me.start >= 0 else "hands back"
    yield label, state._replace(row=state.row.waiting() if me.holds else state.row).put(who, Worker())


def exchange(state: State, who: int, rules: Rules) -> Steps:
    """What may become of a request, and what its client hears of it."""
    me = state.workers[who]
    name = _name(me.request)
    remote, answer = land(state.remote, me.request, rules)
    landed = state._replace(remote=remote)
    yield f"{name} lands: {answer}", landed.put(who, _answered(me, answer))
    yield f"! {name} lands, and the answer is lost", landed.put(who, _answered(me, "none"))
    yield f"! {name} lands, and is answered with 500", landed.put(who, _answered(me, "500"))
    yield f"! {name} is answered with 500", state.put(who, _answered(me, "500"))
    stray = me.request._replace(left=min(me.request.left, rules.late))
    yield f"! gives up on {name}", state._replace(strays=state.strays | {stray}).put(who, _answered(me, "none"))


def record(state: State, who: int, rules: Rules) -> Steps:
    """records.record and records.settle, fenced by claims.held; claims.repair when the lease is lost."""
    row, me = state.row, state.workers[who]
    if me.holds or not rules.fenced:
        workers = (state.workers[0]._replace(holds=False), state.workers[1]._replace(holds=False))
        recorded = state._replace(row=_recorded(row, me, rules), workers=workers)
        yield f"records: {me.answer}", recorded.put(who, Worker())
        if rules.fenced:  # engine._with_database tries again
            yield f"! records: {me.answer}; the database's own answer is lost", recorded
    elif me.answer != "unchanged" and rules.repairs:
        settles = rules.settles and me.request.operation == "update"
        repaired = row.mark()._replace(sent=0, settle=rules.settle if settles else row.settle)
        yield "has lost its lease: repairs", state._replace(row=repaired).put(who, Worker())
    else:
        yield "has lost its lease", state.put(who, Worker())


def _recorded(row: Row, worker: Worker, rules: Rules) -> Row:
    """policy.TABLE; records._columns, _knowledge and _acknowledged."""
    request, forgotten = worker.request, row._replace(sent=0 if rules.forgets else row.sent)
    match worker.answer, request.operation:
        case "unchanged", _:
            return row.at_rest()
        case "ok", _:
            disturbed = row.moved_on and row.sent == 0
            acknowledged = row if disturbed else row._replace(settle=None, sent=request.version)
            return acknowledged._replace(presence="present").at_rest()
        case "409", "add":
            return row._replace(presence="present").waiting()
        case "404", "update":
            return row._replace(presence="absent", sent=0).waiting()
        case "none", "add":
            return forgotten._replace(presence="unsure").waiting()
        case "none", "update":
            return forgotten._replace(settle=rules.settle if rules.settles else row.settle).waiting()
        case "500", _:
            return forgotten.waiting()
    raise ValueError(worker)


def kill(state: State, who: int, rules: Rules) -> Steps:
    """A worker is killed, and another takes its place. What it has sent is under way all the same."""
    me = state.workers[who]
    if rules.kills and me.step != "idle":
        sent = {me.request} if me.step == "sent" else set()
        yield "! is killed", state._replace(strays=state.strays | sent).put(who, Worker())


def land(remote: Remote, request: Request, rules: Rules) -> tuple[Remote, str]:
    """What the service does with a request, and its answer."""
    if request.operation == "add":
        if remote.version and rules.unique_numbers:
            return remote, "409"
        return Remote(request.version, orders=remote.orders + 1), "ok"
    if not remote.version:
        return remote, "404"
    known = rules.same(remote.version, request.base) or rules.same(remote.version, request.version)
    return remote._replace(version=request.version, whole=not request.base or (remote.whole and known)), "ok"


def service(state: State, rules: Rules) -> Steps:
    """Late landings; and somebody deletes the order, though not while an add of it is still under way."""
    for stray in sorted(state.strays):
        remote, answer = land(state.remote, stray, rules)
        yield f"! {_name(stray)} lands late: {answer}", state._replace(remote=remote, strays=state.strays - {stray})
    adding = any(request.operation == "add" for request in state.under_way())
    if state.remote.version and state.deletions < rules.deletions and not adding:
        yield "! somebody deletes the order", state._replace(remote=Remote(), deletions=state.deletions + 1)


def tick(state: State) -> Steps:
    """Time passes. What can no longer land is lost."""
    row = state.row._replace(due=state.row.due and state.row.due - 1, settle=state.row.settle and state.row.settle - 1)
    strays = frozenset(stray._replace(left=stray.left - 1) for stray in state.strays if stray.left)
    workers = _older(state.workers[0]), _older(state.workers[1])
    dawdling = any(worker.step != "idle" for worker in state.workers)
    yield "! a tick" if dawdling else "a tick", State(row, state.remote, strays, workers, state.deletions)


def _older(worker: Worker) -> Worker:
    if worker.step in ("claimed", "ready"):
        return worker._replace(start=max(-1, worker.start - 1))
    if worker.step != "sent":
        return worker
    left = worker.request.left
    return worker._replace(request=worker.request._replace(left=left - 1)) if left else _answered(worker, "none")


def _answered(worker: Worker, answer: str) -> Worker:
    return worker._replace(step="answered", answer=answer)


def _name(request: Request) -> str:
    return f"{request.operation} v{request.version}"


NEXT = {"idle": claim, "looked": claim, "claimed": read, "ready": send, "sent": exchange, "answered": record}


def steps(state: State, rules: Rules) -> Steps:
    """All that may happen next."""
    for label, after in (*shop(state, rules), *service(state, rules), *tick(state)):
        yield label, essence(after, rules)
    for who, worker in enumerate(state.workers):
        for what in (NEXT[worker.step], kill):
            for label, after in what(state, who, rules):
                name = f"! {'AB'[who]}:{label[1:]}" if label[0] == "!" else f"{'AB'[who]}: {label}"
                yield name, essence(after, rules)


def essence(state: State, rules: Rules) -> State:
    """Leave out what makes no difference any more, so that there are fewer states."""
    if state.remote.version and rules.unique_numbers and state.strays:
        strays = frozenset(stray for stray in state.strays if stray.operation != "add")  # each would get a 409
        state = state._replace(strays=strays)
    workers = _essence(state.workers[0], rules), _essence(state.workers[1], rules)
    return state if workers == state.workers else state._replace(workers=workers)


def _essence(worker: Worker, rules: Rules) -> Worker:
    lost = rules.fenced and not worker.holds
    if worker.step == "answered":
        if lost and (worker.answer == "unchanged" or not rules.repairs):
            return Worker()
        answer = "lost" if lost else worker.answer
        request = Request(worker.request.operation, worker.request.version if answer == "ok" else 0)
        return Worker("answered", worker.holds, request=request, answer=answer)
    if lost and rules.guarded and worker.step in ("claimed", "ready") and worker.start < 0:
        return Worker()
    return worker


def at_end(state: State) -> bool:
    """Whether nothing is owed, nothing under way and nobody at work."""
    return state.row.due is None and not state.strays and all(worker.step == "idle" for worker in state.workers)


def wrong(before: State, after: State, rules: Rules) -> Iterator[str]:
    """Yield what is wrong with a step, or with what is after it."""
    row, old, new = after.row, before.remote, after.remote
    if 0 < new.version < old.version and not rules.same(new.version, old.version):
        yield "regression"
    if new.orders > 1:
        yield "two orders"
    if sum(request.operation == "update" for request in after.under_way()) > 1:
        yield "two updates"
    if at_end(after):
        deleted = after.deletions and not new.version
        if not row.acked or not (deleted or (new.whole and rules.same(new.version, row.version))):
            yield "stale end"


class Findings(NamedTuple):
    """How many states there are, and for each kind of wrong a shortest way to it, as text."""

    states: int
    ways: dict[str, str]


def explore(rules: Rules, *, until: str = "") -> Findings:
    """Follow all steps from all states, breadth first; or until something of the kind ``until`` is found."""
    reached = [State()]
    numbers = {State(): 0}
    came_by = [(0, "")]
    healthy_into: list[list[int]] = [[]]  # for each state, those from which a step without "!" leads to it
    ways: dict[str, str] = {}
    for number, state in enumerate(reached):
        for label, after in steps(state, rules):
            one, other = after.workers
            target = numbers.setdefault(after if one <= other else after._replace(workers=(other, one)), len(reached))
            if new := target == len(reached):
                reached.append(after)
                came_by.append((number, label))
                healthy_into.append([])
            if label[0] != "!":
                healthy_into[target].append(number)
            if new or after.remote != state.remote:
                for kind in set(wrong(state, after, rules)) - ways.keys():
                    ways[kind] = _tell([*_way(came_by, number), label], after)
        if until in ways:
            return Findings(len(reached), ways)
    for number in _stuck(reached, healthy_into)[:1]:
        ways["stuck"] = _tell(_way(came_by, number), reached[number])
    return Findings(len(reached), ways)


def _stuck(reached: list[State], healthy_into: list[list[int]]) -> list[int]:
    """Return the states from which healthy steps alone cannot lead to an end."""
    leading = [number for number, state in enumerate(reached) if at_end(state)]
    seen = set(leading)
    for number in leading:
        for earlier in healthy_into[number]:
            if earlier not in seen:
                seen.add(earlier)
                leading.append(earlier)
    return [number for number in range(len(reached)) if number not in seen]


def _way(came_by: list[tuple[int, str]], number: int) -> list[str]:
    labels = []
    while number:
        number, label = came_by[number]
        labels.append(label)
    return labels[::-1]


def _tell(labels: list[str], end: State) -> str:
    lines = [" ".join([label.removeprefix("! "), *["again"] * (len([*same]) - 1)]) for label, same in groupby(labels)]
    return "\n".join([*lines, f"{end.row}", f"{end.remote}"])
