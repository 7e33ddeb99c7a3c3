"""A round of finality: lines travel with polls, what is final comes back; an orderer that keeps them only delays."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from medchain.encoding import canonical
from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.ordering import embedded
from medchain.ordering.block import Block, blocks_answer, frame
from medchain.ordering.cosign import IDLE_S, LATE_S, MAX_NOTES
from medchain.ordering.round import Ask, Round, parse_round, round_answer
from tests.consortium import Consortium, Link
from tests.roll import COSIGN_USES
from tests.waiting import eventually

BLOCK = Block(4, 1_796_083_200, (b"leaf",), "origin\n1\nroot\n\n— x y\n")
FOLLOWERS = [f"org-{number}" for number in range(1, 5)]
QUORUM_LINES = 2 * 4


@pytest.fixture
def consortium():
    with Consortium() as made:
        made.step()
        yield made


def ordered(consortium: Consortium) -> None:
    """Order one transaction and let all followers apply its block, no more."""
    consortium.orderer.driver.order([consortium.anchor("org-1")])
    for name in FOLLOWERS:
        consortium.nodes[name].driver.follow_once()


def final_sizes(consortium: Consortium) -> list[int]:
    return [consortium.nodes[name].driver.cosigner.final_size for name in FOLLOWERS]


def hold_back(consortium: Consortium) -> None:
    """Make the orderer give blocks and nothing else, and take nothing."""
    orderer = consortium.orderer
    orderer.lies["round"] = lambda _source, _ask: (None, 0)
    orderer.driver.cosign = lambda _note: None
    orderer.driver.checkpoint = lambda _final: None


@pytest.mark.parametrize("note", [None, "— note\n"])
@pytest.mark.parametrize("blocks", [[], [BLOCK]])
def test_an_answer_is_read_as_it_was_written(note, blocks):
    assert parse_round(round_answer(note, 7, blocks_answer(blocks))) == Round(blocks, note, 7)


HEAD = {"meeting": 0, "note": "", "type": "medchain/round/v1"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\x05{}",
        frame(canonical({})),
        frame(canonical({**HEAD, "type": "medchain/round/v2"})),
        frame(canonical({**HEAD, "meeting": -1})),
        frame(canonical({**HEAD, "meeting": True})),
        frame(canonical({**HEAD, "note": 1})),
        frame(canonical({**HEAD, "more": 1})),
        frame(canonical(HEAD)) + b"\0\0\0\x01",
    ],
)
def test_what_is_no_answer_is_refused(data):
    with pytest.raises(InputError):
        parse_round(data)


class Calls:
    """Counts what followers ask of others, and knows what each of them waits for."""

    def __init__(self, monkeypatch) -> None:
        """Begin to count."""
        self.made: Counter[tuple[str, str]] = Counter()
        self.waiting: dict[str, Ask] = {}
        for name in ("round", "cosign", "submit"):
            monkeypatch.setattr(Link, name, self._counted(name, getattr(Link, name)))

    def _counted(self, name, call):
        def count(link, argument):
            source = link._source  # noqa: SLF001  # who calls
            self.made[source, name] += 1
            if name == "round":
                self.waiting[source] = argument
            return call(link, argument)

        return count

    def all_wait(self, consortium) -> bool:
        """Whether each follower's last poll asks for what comes after the orderer's newest block, which is final."""
        final = consortium.orderer.driver.cosigner.final_size
        asks = [self.waiting.get(name) for name in FOLLOWERS]
        return final == consortium.orderer.replica.size and all(
            ask is not None and (ask.first, ask.final, ask.met) == (consortium.orderer.replica.height + 1, final, final)
            for ask in asks
        )


def test_a_round_takes_each_follower_two_calls_at_most_and_nobody_calls_anybody_else(monkeypatch):
    # Who is still at rest hands its lines in, and who finds a block before the follower's own thread does: not here.
    monkeypatch.setattr(embedded, "_REST", 0)
    monkeypatch.setattr(embedded, "BUSY_S", 60)
    consortium, calls = Consortium(), Calls(monkeypatch)
    consortium.start()
    try:
        consortium.patience_s = 20
        assert eventually(lambda: all(node.driver.is_caught_up for node in consortium.nodes.values()))
        consortium.orderer.driver.order([consortium.anchor("org-1")])
        assert eventually(lambda: calls.all_wait(consortium))
        calls.made.clear()
        consortium.orderer.driver.order([consortium.anchor("org-1")])
        assert eventually(lambda: calls.all_wait(consortium))
        # The poll that was under way brought the block; each then hands in its lines, and asks for the next one. Who
        # is so late that the others have made the block final does both at once.
        assert set(calls.made) == {(name, "round") for name in FOLLOWERS}
        assert max(calls.made.values()) <= 2
        assert sorted(calls.made.values())[1:] == [2, 2, 2]
        assert consortium.orderer.driver.cosigner.final_size == 6
    finally:
        consortium.patience_s = 0
        for node in consortium.nodes.values():
            node.driver.feed.close()
        consortium.stop()


def test_lines_go_with_the_next_poll_and_what_is_final_comes_with_the_answer(consortium):
    ordered(consortium)
    for node in consortium.nodes.values():
        node.driver.cosign_once()
    size = consortium.orderer.replica.size
    assert max(final_sizes(consortium)) < size
    for name in FOLLOWERS[:3]:
        consortium.nodes[name].driver.follow_once()
    # The third one's lines complete the quorum of four, the orderer's own included: its answer has them all.
    assert final_sizes(consortium) == [0, 0, size, 0]
    consortium.nodes["org-4"].driver.follow_once()
    assert final_sizes(consortium) == [0, 0, size, size]
    note, is_final = consortium.nodes["org-4"].disk.notes[size]
    assert is_final
    assert note.count("/cosigner/") >= QUORUM_LINES


def test_who_waits_is_told_of_finality_at_once(consortium):
    ordered(consortium)
    for node in consortium.nodes.values():
        node.driver.cosign_once()
    orderer, answers = consortium.orderer.driver, []
    ask = Ask(orderer.height() + 1, 20, 2, 100)
    thread = threading.Thread(target=lambda: answers.append(parse_round(orderer.round(ask))))
    thread.start()
    began = time.monotonic()
    for name in FOLLOWERS[:3]:
        consortium.nodes[name].driver.follow_once()
    thread.join(60)
    assert time.monotonic() - began < 15
    [answer] = answers
    assert answer.blocks == []
    assert answer.note == orderer.cosigner.final_note.text


def test_an_orderer_that_holds_lines_back_delays_finality_by_the_patience_and_no_more(consortium):
    hold_back(consortium)
    ordered(consortium)
    size = consortium.orderer.replica.size
    for _ in range(3):
        consortium.step(0)
    assert max(final_sizes(consortium)) < size
    consortium.step(LATE_S)
    consortium.step(0)
    assert final_sizes(consortium) == [size] * 4


def test_from_then_on_lines_go_to_all_at_once_until_the_orderer_is_heard_again(consortium):
    orderer = consortium.orderer
    honest = orderer.driver.cosign, orderer.driver.checkpoint
    hold_back(consortium)
    ordered(consortium)
    for seconds in (0, LATE_S, 0):
        consortium.step(seconds)
    ordered(consortium)
    for _ in range(2):
        consortium.step(0)
    assert final_sizes(consortium) == [orderer.replica.size] * 4
    orderer.driver.cosign, orderer.driver.checkpoint = honest
    orderer.lies.clear()
    for _ in range(2):
        ordered(consortium)
        consortium.step(0)
        consortium.step(0)
    sent = []
    for name in FOLLOWERS:
        consortium.nodes[name].driver._send_round = sent.append  # noqa: SLF001  # what goes to all
    ordered(consortium)
    consortium.step(0)
    consortium.step(0)
    assert final_sizes(consortium) == [orderer.replica.size] * 4
    assert sent == []


def test_an_orderer_that_sends_each_member_to_another_size_delays_finality_and_no_more(consortium):
    hold_back(consortium)
    orderer = consortium.orderer
    places = {name: number for number, name in enumerate(FOLLOWERS)}

    def scatter(source, _ask):
        sizes = [size for _, size, _ in orderer.replica.chain][-4:]
        return None, sizes[places[source] % len(sizes)]

    orderer.lies["round"] = scatter
    for _ in range(3):
        ordered(consortium)
    before = max(final_sizes(consortium))
    for _ in range(3 * LATE_S):
        # Blocks keep coming, and each time everybody is sent somewhere else.
        ordered(consortium)
        consortium.step(1)
    assert min(final_sizes(consortium)) > before


def test_an_orderer_that_is_gone_does_not_keep_what_was_cosigned_from_becoming_final(consortium):
    ordered(consortium)
    consortium.orderer.is_up = False
    size = consortium.nodes["org-1"].replica.size
    for seconds in (0, 0, LATE_S, 0):
        consortium.step(seconds)
    assert final_sizes(consortium) == [size] * 4


def test_a_split_view_is_found_though_the_orderer_passes_nothing_on(consortium):
    orderer = consortium.orderer
    hold_back(consortium)
    blocks = {}
    for name in FOLLOWERS:
        side = FOLLOWERS[0] if name in FOLLOWERS[:2] else FOLLOWERS[2]
        if side not in blocks:
            blocks[side] = orderer.replica.fork().propose([consortium.anchor(side)], consortium.now).block
        blocks[name] = blocks[side]
    orderer.lies["blocks"] = lambda source, first: [blocks[source]] if first <= blocks[source].height else []
    for seconds in (0, 0, LATE_S, 0, 0):
        consortium.step(seconds)
    assert [consortium.nodes[name].alarms() for name in FOLLOWERS] == [{"checkpoint.split_view"}] * 4
    assert max(final_sizes(consortium)) == 0


def test_the_newest_note_goes_to_all_every_thirty_seconds_also_while_blocks_come(consortium, monkeypatch):
    sent = []
    monkeypatch.setattr(Link, "cosign", lambda link, _note: sent.append((consortium.now, link._source, link._target)))  # noqa: SLF001  # who calls whom
    start = consortium.now
    for _ in range(IDLE_S * 2 + 2):
        ordered(consortium)
        consortium.step(1)
    per_node = [len({at for at, source, _ in sent if source == name}) for name in consortium.nodes]
    assert per_node == [2] * 5
    assert {(source, target) for _, source, target in sent} == {
        (source, target) for source in consortium.nodes for target in consortium.nodes if source != target
    }
    assert min(at for at, _, _ in sent) >= start + IDLE_S - 1


def test_a_clock_that_was_set_back_does_not_end_renewals(consortium):
    ordered(consortium)
    for _ in range(2):
        consortium.step(0)
    node = consortium.nodes["org-1"]
    consortium.now -= 86_400
    assert node.driver.cosign_once() is True


def test_what_is_final_is_known_after_a_restart(consortium):
    ordered(consortium)
    for _ in range(2):
        consortium.step(0)
    node = consortium.nodes["org-1"]
    node.driver.cosigner.tidy()
    before = node.driver.cosigner.final_note
    assert before.size == node.replica.size
    node.restart()
    assert node.driver.cosigner.final_note == before
    assert node.driver.cosigner.final_size == before.size


def test_what_was_cosigned_last_is_remembered_with_its_lines_however_many_blocks_came_since(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]
    node.driver.cosign_once()
    floor = node.driver.cosigner.vouched.floor
    for _ in range(MAX_NOTES + 5):
        ordered(consortium)
    assert "org-1.medchain.example" in node.driver.cosigner.note(floor)
    assert node.driver.cosigner.note(floor + 2) is None, "older ones are forgotten"
    answer = node.driver.stand_down(consortium.hand_over("org-2", consortium.nodes["org-2"]))
    assert answer == node.driver.cosigner.note(floor)


def test_a_note_that_tells_nothing_new_is_not_kept_again(consortium):
    ordered(consortium)
    for _ in range(2):
        consortium.step(0)
    node, kept = consortium.nodes["org-1"], []
    note = node.driver.checkpoint()
    node.disk.put = lambda text, size, *, final: kept.append((text, size, final))
    node.driver.cosigner.tidy()
    kept.clear()
    node.driver.cosign(note)
    node.driver.cosigner.tidy()
    assert kept == []


def with_a_line_unsaved(consortium):
    """Have what is final at the orderer, and one more member's lines that are not written yet; returns its node."""
    ordered(consortium)
    for node in consortium.nodes.values():
        node.driver.cosign_once()
    for name in FOLLOWERS:
        consortium.nodes[name].driver.follow_once()
    return consortium.orderer


def test_who_has_lines_to_give_waits_for_no_write(consortium):
    node, heard = with_a_line_unsaved(consortium), []
    cosigner = node.driver.cosigner

    def slow(_text, _size, *, final):
        asking = threading.Thread(target=lambda: heard.append((len(cosigner.heard()), final)))
        asking.start()
        asking.join(20)

    node.disk.put = slow
    cosigner.tidy()
    assert heard == [(4, True)]


def test_lines_that_a_full_disk_did_not_take_are_written_later(consortium):
    node, kept = with_a_line_unsaved(consortium), []
    put = node.disk.put

    def refuse(*_given: object, **_named: object) -> None:
        raise UnavailableError("store.full")

    node.disk.put = refuse
    with pytest.raises(UnavailableError):
        node.driver.cosigner.tidy()
    node.disk.put = lambda text, size, *, final: kept.append(size) or put(text, size, final=final)
    node.driver.cosigner.tidy()
    node.driver.cosigner.tidy()
    assert kept == [node.replica.size]


def test_lines_that_come_after_a_note_is_final_are_written_when_there_is_time(consortium):
    ordered(consortium)
    for node in consortium.nodes.values():
        node.driver.cosign_once()
    for name in FOLLOWERS[:3]:
        consortium.nodes[name].driver.follow_once()
    orderer, kept = consortium.orderer, []
    size = orderer.replica.size
    orderer.disk.put = lambda text, at, *, final: kept.append((text.count("/cosigner/"), at, final))
    consortium.nodes["org-4"].driver.follow_once()
    assert kept == []
    orderer.driver.cosigner.tidy()
    orderer.driver.cosigner.tidy()
    assert kept == [(QUORUM_LINES + 2, size, True)]


def test_a_poll_whose_lines_are_refused_is_made_again_without(consortium, monkeypatch):
    ordered(consortium)
    node, asked = consortium.nodes["org-1"], []
    node.driver.cosign_once()
    answer = Link.round

    def fussy(link, ask):
        asked.append(ask.note is None)
        if ask.note is not None:
            raise VerificationError("checkpoint.origin")
        return answer(link, ask)

    monkeypatch.setattr(Link, "round", fussy)
    consortium.orderer.driver.order([consortium.anchor("org-1")])
    assert node.driver.follow_once() == 1
    node.driver.follow_once()
    assert asked == [False, True, True]
    assert node.alarms() == set()


def test_lines_are_kept_for_the_next_poll_while_the_orderer_is_not_reached(consortium):
    ordered(consortium)
    node, orderer = consortium.nodes["org-1"], consortium.orderer
    node.driver.cosign_once()
    orderer.is_up = False
    node.driver.follow_once()
    node.driver.hand_in()
    orderer.is_up = True
    assert "org-1.medchain.example" not in orderer.driver.checkpoint()
    node.driver.hand_in()
    assert "org-1.medchain.example" in orderer.driver.checkpoint()


class Turns:
    """In place of a driver's stop: lets a thread's loop run some turns, and notes how long it would wait."""

    def __init__(self, count: int) -> None:
        """Let so many turns run."""
        self.left, self.waited = count, []

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)


@pytest.mark.parametrize(("taken_s", "rest_s"), [(0, embedded.BUSY_S), (5, 0)])
def test_an_orderer_that_answers_nothing_and_at_once_is_not_asked_as_fast_as_it_answers(
    consortium, monkeypatch, taken_s, rest_s
):
    driver, turns, asked = consortium.nodes["org-1"].driver, Turns(3), []

    def nothing(_link, ask):
        asked.append(ask.wait_s)
        return Round([])

    monkeypatch.setattr(Link, "round", nothing)
    here = threading.get_ident()

    def monotonic():
        # Another test's thread may run beside this one: for it, time goes on.
        return taken_s * len(asked) if threading.get_ident() == here else time.monotonic()

    monkeypatch.setattr(embedded, "time", SimpleNamespace(monotonic=monotonic, thread_time=time.thread_time))
    monkeypatch.setattr(driver, "_stopping", turns)
    driver._follow()  # noqa: SLF001  # what its thread does
    assert (asked, turns.waited) == ([5] * 3, [rest_s] * 3)


def test_a_size_that_no_block_of_ours_ends_at_is_not_cosigned_whatever_the_orderer_says(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]
    for size in (node.replica.size - 1, node.replica.size + 1, 2**60):
        node.driver.cosigner.told(size, None)
        node.driver.cosigner.vouch(lambda: True)
        assert node.disk.vouched.size == node.replica.size


def test_a_member_meets_the_others_where_the_orderer_says_that_they_wait(consortium):
    ordered(consortium)
    node, waiting_at = consortium.nodes["org-1"], consortium.orderer.replica.size
    consortium.orderer.driver.cosign_once()
    ordered(consortium)
    assert node.replica.size > waiting_at
    node.driver.cosign_once()
    assert node.disk.vouched.size == waiting_at


def test_lines_under_a_key_of_the_past_do_not_count_for_a_size_that_comes_later(consortium):
    node = consortium.nodes["org-1"]
    cosigner, orderer = node.driver.cosigner, consortium.orderer
    height, size = node.replica.height, node.replica.size
    orderer.driver.order([consortium.exchange("org-3", COSIGN_USES, orderer)])
    orderer.driver.order([consortium.anchor("org-1")])
    for name in FOLLOWERS[1:]:
        for _ in range(2):
            consortium.nodes[name].driver.follow_once()
            consortium.nodes[name].driver.cosign_once()
    ahead = orderer.driver.cosigner.note(orderer.replica.size)
    cosigner.learn(ahead)
    assert (node.replica.height, node.replica.size) == (height, size)
    assert "/cosigner/" in cosigner.note(orderer.replica.size)
    node.driver.follow_once()
    assert node.replica.height == orderer.replica.height
    assert node.driver.cosign_once()
    # Four of five are a quorum, with the lines of org-3, which has not taken its new key yet.
    lines = cosigner.note(orderer.replica.size).count("/cosigner/")
    assert (lines, cosigner.final_size) == (QUORUM_LINES, 0)


def test_a_disk_that_is_full_keeps_lines_for_a_later_turn(consortium):
    ordered(consortium)
    for node in consortium.nodes.values():
        node.driver.cosign_once()
    for name in FOLLOWERS:
        consortium.nodes[name].driver.follow_once()
    orderer, kept = consortium.orderer, []

    def full(_text, _size, *, final):
        raise UnavailableError("store.full", final=int(final))

    orderer.disk.put = full
    with pytest.raises(UnavailableError, match=r"store\.full"):
        orderer.driver.cosigner.tidy()
    orderer.disk.put = lambda text, at, *, final: kept.append((text.count("/cosigner/"), at, final))
    orderer.driver.cosigner.tidy()
    assert kept == [(QUORUM_LINES + 2, orderer.replica.size, True)]
