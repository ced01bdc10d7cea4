from __future__ import annotations

import asyncio
import threading
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bronto_orders import tracking
from bronto_orders.tracking import NOTHING, Note, Source, Tracking

#: Both from public material: the documents' own example, and a link that was mailed.
DOCS_TID = "3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow"
LINK_TID = "3.gI4.DaQxAC.Gy1-.Acxnpz..Ayb9gw.t....b.W9oUHw.U6oUHw.1rZCMB"
DOCS_COOKIE = "tid_blkycggbjquivddbiddxylaufhfdbkj"

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=400)
PARTS = st.lists(st.text("AZaz09_-", max_size=8), min_size=14, max_size=14)
TIDS = PARTS.map(lambda parts: ".".join(["3", *parts]))
SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")


@dataclass
class FakeOrder:
    tid: str = ""
    tracking_cookie_name: str = ""
    tracking_cookie_value: str = ""
    origin_ip: str | None = None
    origin_user_agent: str = ""
    # Other tests are about what is sent; these have tests of their own.
    attribution_source: str = field(default="", compare=False)
    attribution_seen_at: datetime | None = field(default=None, compare=False)
    attribution_note: str = field(default="", compare=False)


class FakeAttribution:
    def __init__(self, origin=None, error=None):
        self.given, self.error, self.asked = origin, error, 0
        self.tracking = origin.tracking if origin else NOTHING
        self.is_over = False

    def origin(self):
        self.asked += 1
        if self.error:
            raise self.error
        return self.given

    def order_committed(self): ...


def stamp(seconds):
    return urlsafe_b64encode(seconds.to_bytes(4)).decode().rstrip("=")


def make_tid(seconds, delivery="AQ"):
    return f"3.Ag.AQ.AQ.AQ.{delivery}.AQ.t..l.AQ.n.{stamp(seconds)}.{stamp(seconds)}.G89Jow"


@pytest.fixture
def activate():
    tokens = []
    yield lambda attribution: tokens.append(tracking.active.set(attribution))
    for token in reversed(tokens):
        tracking.active.reset(token)


class TestShape:
    @pytest.mark.parametrize("tid", [DOCS_TID, LINK_TID, "3" + "." * 14, "3" + "." * 13 + "." + "x" * 240])
    def test_takes(self, tid):
        assert tracking.parse_tid(tid) == tid
        assert Tracking(tid=tid).tid == tid

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "3",
            "2" + DOCS_TID[1:],
            DOCS_TID + ".",
            DOCS_TID.rpartition(".")[0],
            DOCS_TID + "\n",
            "\n" + DOCS_TID,
            DOCS_TID + "\x00",
            DOCS_TID.replace("n", "é"),
            DOCS_TID.replace("n", "\u0663"),
            DOCS_TID.replace("l", "+"),
            DOCS_TID + "%0d%0aSet-Cookie: a=b",
            DOCS_TID + "<script>",
            "3" + "." * 14 + "x" * 241,
            "%33" * 1_000_000,
        ],
    )
    def test_refuses(self, text):
        assert tracking.parse_tid(text) == ""
        assert not Tracking(tid=text, source="query")
        assert Tracking(tid=text, source="query").source == ""

    def test_decodes_once(self):
        encoded = DOCS_TID.replace(".", "%2E")
        assert tracking.parse_tid(encoded) == DOCS_TID
        assert tracking.parse_tid(quote(encoded)) == ""
        assert not Tracking(tid=encoded)

    @pytest.mark.parametrize(
        "name",
        [
            DOCS_COOKIE,
            "tid_32910",
            "tid_d41d8cd98f00b204e9800998ecf8427e",
            "tid_MzI5MTA",
            "tid_a+/b",
            "tid_" + "a" * 64,
        ],
    )
    def test_takes_cookie_name(self, name):
        assert tracking.is_cookie_name(name)
        assert Tracking(cookie_name=name, cookie_value=DOCS_TID)

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "tid_",
            "tid",
            "TID_a",
            "xtid_a",
            "tid_a b",
            "tid_a\n",
            "tid_a;",
            "tid_<b>",
            'tid_"',
            "tid_é",
            "tid_" + "a" * 65,
        ],
    )
    def test_refuses_cookie_name(self, name):
        assert not tracking.is_cookie_name(name)
        assert not Tracking(cookie_name=name, cookie_value=DOCS_TID)

    @given(ANY_TEXT)
    @settings(deadline=None)
    @example("%")
    @example("%zz%\ud800")
    def test_whatever_is_taken_is_safe(self, text):
        assert set(tracking.parse_tid(text)) <= SAFE
        for made in (
            Tracking(tid=text),
            Tracking(cookie_name=text, cookie_value=DOCS_TID),
            Tracking(cookie_name=f"tid_{text}", cookie_value=DOCS_TID),
            Tracking(cookie_name=DOCS_COOKIE, cookie_value=text),
            tracking.from_query(text),
            tracking.from_cookies({f"tid_{text}": DOCS_TID, text: text, DOCS_COOKIE: text}),
            tracking.unpack(text, "session"),
            tracking.unpack(f"1:{text}", "session"),
        ):
            assert set(made.tid + made.cookie_value) <= SAFE
            assert set(made.cookie_name) <= SAFE | set("+/")
            assert max(map(len, (made.tid, made.cookie_name, made.cookie_value))) <= 255
            assert bool(made.cookie_name) == bool(made.cookie_value)
            assert made.issued_at is None or made.issued_at.tzinfo is UTC
            assert repr(made)

    @given(st.binary(max_size=400))
    @settings(deadline=None)
    def test_reads_whatever_bytes_a_server_decodes(self, data):
        for text in (data.decode("latin-1"), data.decode("utf-8", "surrogateescape"), data.decode("utf-8", "replace")):
            found = tracking.read(query=text, cookies={f"tid_{text}": text, "tid_a": text}, kept=lambda: NOTHING)
            assert set(found.tid + found.cookie_value) <= SAFE

    @given(ANY_TEXT, ANY_TEXT)
    @settings(deadline=None)
    def test_source_and_note_are_codes_whatever_is_stated(self, source, note):
        made = Tracking(tid=DOCS_TID, source=source, note=note)
        for code in (made.source, made.note):
            assert set(code) <= set("abcdefghijklmnopqrstuvwxyz_")
            assert len(code) <= 32
        assert made.source
        assert Tracking(note=note).source == ""

    @given(TIDS)
    @settings(deadline=None)
    def test_what_is_decoded_of_any_tid_can_be_stored(self, tid):
        made = Tracking(tid=tid)
        assert made.site_id is None or 0 <= made.site_id < 2**64
        assert len(made.stamps) <= 2
        assert made.issued_at is None or made.issued_at in made.stamps

    @given(TIDS)
    @settings(deadline=None)
    def test_every_tid_survives_encoding_and_keeping(self, tid):
        assert tracking.parse_tid(quote(tid)) == tid
        kept = tracking.unpack(tracking.pack(tracking.from_query(tid)), "session")
        assert (kept.tid, kept.source) == (tid, "session")


class TestTracking:
    def test_is_false_when_empty(self):
        assert not Tracking()
        assert not Tracking(note="no_consent")
        assert Tracking().source == ""

    def test_stated_by_code_is_explicit(self):
        assert Tracking(tid=DOCS_TID).source == "explicit"

    @pytest.mark.parametrize("half", [{"cookie_name": DOCS_COOKIE}, {"cookie_value": DOCS_TID}])
    def test_half_a_pair_is_none(self, half):
        made = Tracking(**half)
        assert (made.cookie_name, made.cookie_value, made.note) == ("", "", Note.MALFORMED)

    def test_malformed_half_leaves_the_good_one(self):
        made = Tracking(tid=DOCS_TID, cookie_name="x", cookie_value="y")
        assert (made.tid, made.cookie_name, made.cookie_value, made.note) == (DOCS_TID, "", "", Note.MALFORMED)

    @pytest.mark.parametrize("odd", [None, 3, b"3", ["3"]])
    def test_other_types_are_left_out(self, odd):
        assert Tracking(tid=odd) == Tracking(cookie_name=odd, cookie_value=odd) == Tracking(note=Note.MALFORMED)

    def test_repr_tells_no_value(self):
        text = repr(Tracking(tid=DOCS_TID, cookie_name=DOCS_COOKIE, cookie_value=LINK_TID, source="query"))
        assert "query" in text
        assert not any(value in text for value in (DOCS_TID, LINK_TID, DOCS_COOKIE))

    @pytest.mark.parametrize(
        ("tid", "issued_at"),
        [
            (DOCS_TID, datetime(2015, 2, 25, 17, 4, 16, tzinfo=UTC)),
            (LINK_TID, datetime(2018, 10, 31, 20, 44, 15, tzinfo=UTC)),
            (DOCS_TID.replace("VO4AkA.VO4AkA", ".VO4AkA"), datetime(2015, 2, 25, 17, 4, 16, tzinfo=UTC)),
            (DOCS_TID.replace("VO4AkA.VO4AkA", "VO4AkA.AQ"), datetime(2015, 2, 25, 17, 4, 16, tzinfo=UTC)),
            (DOCS_TID.replace("VO4AkA.VO4AkA", "______.______"), datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)),
            (DOCS_TID.replace("VO4AkA.VO4AkA", "AAAAAA.AAAAAA"), None),
            (DOCS_TID.replace("VO4AkA.VO4AkA", "."), None),
            (DOCS_TID.replace("VO4AkA.VO4AkA", "VO4Ak.VO4AkAA"), None),
            ("", None),
        ],
    )
    def test_issued_at(self, tid, issued_at):
        assert Tracking(tid=tid).issued_at == issued_at
        assert Tracking(cookie_name="tid_a" if tid else "", cookie_value=tid).issued_at == issued_at

    @pytest.mark.parametrize(
        ("part", "number"),
        [
            ("gI4", 32910),  # as the same link says in its ssid
            ("Ag", 2),
            ("AA", 0),
            ("", None),
            ("A", None),
            ("AAAAA", None),
            ("__________", 2**56 - 1),
            ("___________", None),
        ],
    )
    def test_site_id(self, part, number):
        tid = DOCS_TID.replace("3.Ag.", f"3.{part}.")
        assert Tracking(tid=tid).site_id == Tracking(cookie_name="tid_a", cookie_value=tid).site_id == number

    def test_stamps_in_their_order(self):
        tid = DOCS_TID.replace("VO4AkA.VO4AkA", "W9oUHw.VO4AkA")
        assert [stamp.year for stamp in Tracking(tid=tid).stamps] == [2018, 2015]
        assert Tracking(tid=tid.replace("W9oUHw", "")).stamps == (datetime(2015, 2, 25, 17, 4, 16, tzinfo=UTC),)
        assert Tracking().stamps == ()
        assert Tracking().site_id is None

    def test_source_and_note_are_plain_text(self):
        for made in (Tracking(tid=DOCS_TID, source=Source.QUERY), Tracking(tid=DOCS_TID), Tracking(note=Note.STAFF)):
            assert type(made.source) is type(made.note) is str
        assert Tracking(note="<b>").note == Note.MALFORMED
        assert Tracking(tid=DOCS_TID, source="an import of mine").source == Source.EXPLICIT
        assert Tracking(tid=DOCS_TID, source="erp_import").source == "erp_import"


class TestMerge:
    STAMPS = st.integers(1_600_000_000, 1_700_000_000)
    CLICKS = st.builds(
        lambda seconds, source, dated: Tracking(
            tid=make_tid(seconds) if dated else f"3{'.' * 14}{seconds}", source=source
        ),
        STAMPS,
        st.sampled_from(["session", "cookie", "query", "explicit"]),
        st.booleans(),
    )
    ANY = st.one_of(CLICKS, st.builds(lambda note: Tracking(note=note), st.sampled_from(["", *Note.values])))

    @given(ANY, ANY)
    def test_is_one_of_the_two_and_empty_only_if_both_are(self, one, other):
        merged = one.merge(other)
        assert merged in (one, other)
        assert bool(merged) == (bool(one) or bool(other))

    @given(ANY)
    def test_nothing_and_itself_change_nothing(self, one):
        assert one.merge(NOTHING) == NOTHING.merge(one) == one.merge(one) == one

    @given(ANY, ANY)
    def test_merging_again_changes_nothing(self, one, other):
        merged = one.merge(other)
        assert merged.merge(other) == one.merge(merged) == merged

    @given(STAMPS, STAMPS)
    def test_the_later_wins_from_either_side(self, one, other):
        clicks = [Tracking(tid=make_tid(seconds), source="session") for seconds in (one, other)]
        assert clicks[0].merge(clicks[1]) == clicks[1].merge(clicks[0]) == max(clicks, key=lambda it: it.issued_at)

    @given(CLICKS)
    def test_a_click_happening_now_wins_from_either_side(self, other):
        now = Tracking(tid=make_tid(1), source="query")
        if other.source != "query":
            assert now.merge(other) == other.merge(now) == now

    def test_of_two_empty_ones_the_one_that_says_why(self):
        why = Tracking(note="no_consent")
        assert why.merge(NOTHING) is why
        assert NOTHING.merge(why) is why


class TestCookies:
    def test_none(self):
        assert tracking.from_cookies({"sessionid": DOCS_TID, "xtid_a": DOCS_TID}) == NOTHING

    def test_one_of_any_suffix(self):
        found = tracking.from_cookies({"sessionid": "x", DOCS_COOKIE: DOCS_TID.replace(".", "%2e")})
        assert (found.cookie_name, found.cookie_value, found.source) == (DOCS_COOKIE, DOCS_TID, "cookie")
        assert found.tid == found.note == ""
        assert found.seen_at is not None

    def test_malformed_ones_are_passed_over(self):
        assert tracking.from_cookies({"tid_a": "x"}) == Tracking(note=Note.MALFORMED)
        assert tracking.from_cookies({"tid_a": "x", "tid_b": DOCS_TID}).cookie_name == "tid_b"

    @pytest.mark.parametrize("names", ["abc", "bca", "cab", "cba"])
    def test_the_newest_counts(self, names):
        seconds = {"a": 1_600_000_000, "b": 1_700_000_000, "c": 1_600_000_000}
        cookies = {f"tid_{name}": make_tid(seconds[name], delivery=name) for name in names}
        assert tracking.from_cookies(cookies).cookie_name == "tid_b"

    @pytest.mark.parametrize("other", [make_tid(1_700_000_000, delivery="Ag"), "3" + "." * 14])
    def test_none_when_the_newest_cannot_be_told(self, other):
        found = tracking.from_cookies({"tid_a": make_tid(1_700_000_000), "tid_b": other})
        assert found == Tracking(note=Note.SEVERAL_COOKIES)

    def test_one_value_under_two_names_is_one_click(self):
        undated = "3" + "." * 14
        assert tracking.from_cookies({"tid_a": undated, "tid_b": undated}).cookie_value == undated

    @pytest.mark.timeout(5)
    def test_a_great_many_cost_little(self):
        cookies = {f"tid_{seconds}": make_tid(seconds) for seconds in range(1_700_000_000, 1_700_005_000)}
        assert tracking.from_cookies(cookies).cookie_name == "tid_1700004999"


class TestLastClick:
    OLD, NEW = make_tid(1_600_000_000), make_tid(1_700_000_000)
    UNDATED = "3" + "." * 14

    def read(self, query=None, cookie=None, kept=None):
        return tracking.read(
            query=query,
            cookies={} if cookie is None else {"tid_a": cookie},
            kept=lambda: NOTHING if kept is None else Tracking(tid=kept, source="session"),
        )

    def test_nothing(self):
        assert self.read() == NOTHING

    def test_query_wins_whatever_its_time_stamp_and_nothing_else_is_read(self):
        found = tracking.read(query=self.OLD, cookies={"tid_a": self.NEW}, kept=lambda: pytest.fail("was read"))
        assert (found.tid, found.source) == (self.OLD, "query")

    @pytest.mark.parametrize(
        ("cookie", "kept", "winner"),
        [
            (NEW, OLD, "cookie"),
            (OLD, NEW, "session"),
            (OLD, OLD, "session"),
            (UNDATED, OLD, "session"),
            (NEW, UNDATED, "session"),
            (NEW, None, "cookie"),
            (None, OLD, "session"),
            ("junk", OLD, "session"),
        ],
    )
    def test_cookie_against_kept(self, cookie, kept, winner):
        assert self.read(cookie=cookie, kept=kept).source == winner
        assert self.read(query="junk", cookie=cookie, kept=kept).source == winner

    def test_kept_decides_where_cookies_cannot(self):
        cookies = {"tid_a": self.UNDATED, "tid_b": self.OLD}
        found = tracking.read(query=None, cookies=cookies, kept=lambda: Tracking(tid=self.OLD, source="session"))
        assert found.source == "session"

    def test_says_why_there_is_none(self):
        assert self.read(query="junk").note == Note.MALFORMED
        assert self.read(query="").note == Note.MALFORMED
        assert self.read(cookie="junk").note == Note.MALFORMED
        assert (
            tracking.read(query=None, cookies={"tid_a": self.UNDATED, "tid_b": self.OLD}, kept=Tracking).note
            == Note.SEVERAL_COOKIES
        )


class TestKeeping:
    def test_keeps_tid_and_time(self):
        clicked = tracking.from_query(DOCS_TID)
        kept = tracking.unpack(tracking.pack(clicked), "signed_cookie")
        assert (kept.tid, kept.source) == (DOCS_TID, "signed_cookie")
        assert abs((kept.seen_at - clicked.seen_at).total_seconds()) <= 1

    @pytest.mark.parametrize(
        "text", [None, 5, "", DOCS_TID, f":{DOCS_TID}", f"-1:{DOCS_TID}", f"99999999999:{DOCS_TID}", {"tid": 1}]
    )
    def test_takes_nothing_else(self, text):
        assert tracking.unpack(text, "session") == NOTHING


class TestFill:
    ORIGIN = tracking.Origin(Tracking(tid=DOCS_TID), ip="192.0.2.1", user_agent="Browser")
    PAIR = tracking.Origin(Tracking(cookie_name=DOCS_COOKIE, cookie_value=LINK_TID))

    def fill(self, **given):
        order = FakeOrder(**given)
        tracking.fill(order)
        return order

    def test_does_nothing_without_attribution(self):
        assert tracking.active.get() is None
        assert self.fill() == FakeOrder()

    def test_fills_a_tid(self, activate):
        activate(FakeAttribution(self.ORIGIN))
        assert self.fill() == FakeOrder(tid=DOCS_TID, origin_ip="192.0.2.1", origin_user_agent="Browser")

    def test_fills_a_pair(self, activate):
        activate(FakeAttribution(self.PAIR))
        assert self.fill() == FakeOrder(tracking_cookie_name=DOCS_COOKIE, tracking_cookie_value=LINK_TID)

    def test_prefers_the_tid_to_the_pair(self, activate):
        both = Tracking(tid=DOCS_TID, cookie_name=DOCS_COOKIE, cookie_value=LINK_TID)
        activate(FakeAttribution(tracking.Origin(both)))
        assert self.fill() == FakeOrder(tid=DOCS_TID)

    @pytest.mark.parametrize("name", ["tid", "tracking_cookie_name", "tracking_cookie_value"])
    def test_leaves_a_group_of_which_anything_is_given(self, activate, name):
        activate(FakeAttribution(self.ORIGIN))
        assert self.fill(**{name: "given"}) == FakeOrder(
            **{name: "given"}, origin_ip="192.0.2.1", origin_user_agent="Browser"
        )

    def test_leaves_given_address_and_user_agent(self, activate):
        activate(FakeAttribution(self.ORIGIN))
        order = self.fill(origin_ip="198.51.100.1", origin_user_agent="given")
        assert order == FakeOrder(tid=DOCS_TID, origin_ip="198.51.100.1", origin_user_agent="given")

    def test_fills_none_and_empty_text_alike(self, activate):
        activate(FakeAttribution(self.ORIGIN))
        order = self.fill(tid=None, tracking_cookie_name=None, origin_ip="", origin_user_agent=None)
        assert (order.tid, order.origin_ip, order.origin_user_agent) == (DOCS_TID, "192.0.2.1", "Browser")

    def test_an_empty_origin_changes_nothing(self, activate):
        activate(FakeAttribution(tracking.Origin(NOTHING)))
        assert self.fill() == FakeOrder()
        assert self.fill(origin_ip=None).origin_ip is None

    def test_asks_nobody_when_nothing_is_empty(self, activate):
        attribution = FakeAttribution(self.ORIGIN)
        activate(attribution)
        self.fill(tid="a", origin_ip="192.0.2.2", origin_user_agent="c")
        assert attribution.asked == 0

    def test_a_failure_is_logged_without_values_and_breaks_nothing(self, activate, caplog):
        activate(FakeAttribution(error=RuntimeError(f"{DOCS_TID} 192.0.2.1")))
        assert self.fill() == FakeOrder()
        (record,) = caplog.records
        assert record.name == "bronto_orders.tracking"
        assert "RuntimeError" in record.getMessage()
        assert "test_tracking.py" in record.getMessage()
        assert DOCS_TID not in caplog.text
        assert "192.0.2.1" not in caplog.text

    def test_only_exceptions_are_forgiven(self, activate):
        activate(FakeAttribution(error=KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            self.fill()


class TestAttribution:
    """How an order says by what it was attributed, or why it was not."""

    NOW = datetime(2026, 5, 4, tzinfo=UTC)

    def filled(self, *, attribution=None, **given):
        order = FakeOrder(**given)
        token = tracking.active.set(attribution)
        try:
            tracking.fill(order)
        finally:
            tracking.active.reset(token)
        return order.attribution_source, order.attribution_seen_at, order.attribution_note

    def made(self, *, attribution=None, **given):
        return self.filled(attribution=FakeAttribution(tracking.Origin(Tracking(**given))))

    def test_source_and_time(self):
        assert self.made(tid=DOCS_TID, source="session", seen_at=self.NOW) == ("session", self.NOW, "")
        pair = {"cookie_name": DOCS_COOKIE, "cookie_value": LINK_TID}
        assert self.made(**pair, source="cookie", seen_at=self.NOW) == ("cookie", self.NOW, "")

    def test_why_not(self):
        assert self.made(note="no_consent") == ("", None, "no_consent")
        assert self.made() == ("", None, Note.NO_CLICK)

    def test_a_note_about_what_was_left_out_is_of_no_interest_where_there_is_something(self):
        assert self.made(tid=DOCS_TID, note="malformed") == ("explicit", None, "")

    def test_explicit_values_win(self):
        origin = tracking.Origin(Tracking(tid=DOCS_TID, source="query", seen_at=self.NOW))
        for attribution in (None, FakeAttribution(origin), FakeAttribution(tracking.Origin(Tracking(note="staff")))):
            assert self.filled(attribution=attribution, tid="given") == ("explicit", None, "")
            told = self.filled(attribution=attribution, tid="given", attribution_source="erp")
            assert told == ("erp", None, "")

    def test_outside_of_anything_nothing_is_said(self):
        assert self.filled() == ("", None, "")

    def test_stated_by_code(self):
        order = FakeOrder()
        with tracking.use(Tracking(tid=DOCS_TID, source="erp_import", seen_at=self.NOW)):
            tracking.fill(order)
        assert (order.attribution_source, order.attribution_seen_at) == ("erp_import", self.NOW)
        for stated, note in ((NOTHING, Note.WITHHELD), (Tracking(note="staff"), Note.STAFF)):
            with tracking.use(stated):
                tracking.fill(order := FakeOrder())
            assert (order.attribution_source, order.attribution_note) == ("", note)

    def test_a_failure_is_told(self):
        failing = FakeAttribution(error=RuntimeError())
        assert self.filled(attribution=failing) == ("", None, Note.UNREADABLE)

    def test_every_code_fits_its_column_and_has_words(self):
        for code in (*Source, *Note):
            assert code.label
            assert tracking._is_code(code.value)


class TestUse:
    def test_fills_tracking_only(self):
        order = FakeOrder()
        with tracking.use(Tracking(tid=DOCS_TID)) as used:
            assert tracking.current() is used
            tracking.fill(order)
        assert order == FakeOrder(tid=DOCS_TID)
        assert tracking.current() is None

    def test_nests_and_overrides(self):
        outer, inner = Tracking(tid=DOCS_TID), Tracking(tid=LINK_TID)
        with tracking.use(outer):
            with tracking.use(inner):
                assert tracking.current() is inner
            with tracking.use(NOTHING):
                tracking.fill(order := FakeOrder())
                assert order == FakeOrder()
            assert tracking.current() is outer

    def test_replaces_all_of_a_request(self, activate):
        activate(FakeAttribution(TestFill.ORIGIN))
        with tracking.use(TestFill.PAIR.tracking):
            tracking.fill(order := FakeOrder())
        assert order == FakeOrder(tracking_cookie_name=DOCS_COOKIE, tracking_cookie_value=LINK_TID)

    def test_ends_with_an_exception(self):
        with pytest.raises(ZeroDivisionError), tracking.use(Tracking(tid=DOCS_TID)):
            raise ZeroDivisionError
        assert tracking.current() is None

    def test_threads_do_not_share(self):
        seen = []
        with tracking.use(Tracking(tid=DOCS_TID)):
            thread = threading.Thread(target=lambda: seen.append(tracking.current()))
            thread.start()
            thread.join()
        assert seen == [None]

    def test_tasks_do_not_share(self):
        async def one(number):
            mine = Tracking(tid=make_tid(number))
            with tracking.use(mine):
                for _ in range(5):
                    await asyncio.sleep(0)
                    assert tracking.current() is mine
            return tracking.current()

        async def main():
            return await asyncio.gather(*(one(1_700_000_000 + number) for number in range(200)))

        assert set(asyncio.run(main())) == {None}
