"""Who falls ill of what, where and when; and from that everything that the two hospitals hold.

Keeps true: patient ``n`` is the same whatever the number of patients. The first five belong to the planted stories.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from sample_data.model import directory, people, visits
from sample_data.model.chart import FIRST_DAY, LAST_DAY, Chart, Policy
from sample_data.model.stream import Stream
from sample_data.model.visits import Episode
from sample_data.vocabulary import pathways, terms

_RENHE: Final = directory.RENHE.slug
_BINHAI: Final = directory.BINHAI.slug
_START_DAYS: Final = 1900
_YEAR_DAYS: Final = 365
_PENICILLIN: Final = 0

PLANTED: Final = {
    1: (
        (Episode(_RENHE, "gallstone", date(2025, 8, 19)),),
        (
            Policy(directory.ANXIN.slug, "AX202300018842", date(2023, 1, 1)),
            Policy(directory.TAIHE.slug, "TH202400027315", date(2024, 7, 1)),
        ),
    ),
    2: (
        (
            Episode(
                _BINHAI,
                "neuropathy",
                date(2025, 2, 10),
                onset="2019-05",
                remark="患者自诉2019年5月诊断2型糖尿病，长期口服二甲双胍。",
            ),
        ),
        (Policy(directory.TAIHE.slug, "TH202400011906", date(2024, 3, 1)),),
    ),
    3: (
        (Episode(_RENHE, "gastritis", date(2024, 11, 5)),),
        (Policy(directory.ANXIN.slug, "AX202300094471", date(2023, 9, 1), date(2024, 8, 31)),),
    ),
    4: (
        (Episode(_RENHE, "hiv", date(2024, 9, 3)),),
        (Policy(directory.ANXIN.slug, "AX202200063520", date(2022, 4, 1)),),
    ),
    # So near the last day that the visit's only claim is the one that the story makes.
    5: (
        (Episode(_RENHE, "hypertension", date(2026, 10, 23)),),
        (Policy(directory.ANXIN.slug, "AX202500071268", date(2025, 6, 1)),),
    ),
}
"""Episodes and policies of the patients of the planted stories, by number."""


@dataclass(frozen=True, slots=True)
class Consortium:
    """The whole world.

    Attributes:
        hospitals: by slug.
        charts: by number of the patient and slug of the hospital.
    """

    hospitals: dict[str, directory.Hospital]
    charts: dict[tuple[int, str], Chart]


def build(root: Stream, patients: int) -> Consortium:
    """Make the consortium.

    Args:
        root: stream of the seed.
        patients: how many, at least five.

    Returns:
        Staffed hospitals and finished charts.
    """
    taken: set[str] = set()
    hospitals = {
        member.slug: directory.staff(member, root.child("staff", member.slug), taken)
        for member in (directory.RENHE, directory.BINHAI)
    }
    charts: dict[tuple[int, str], Chart] = {}
    for index in range(1, patients + 1):
        for chart in _live(root, hospitals, index, taken):
            charts[index, chart.hospital.member.slug] = chart
    return Consortium(hospitals, charts)


def _live(root: Stream, hospitals: dict[str, directory.Hospital], index: int, taken: set[str]) -> list[Chart]:
    """Write the charts of one patient, one for each hospital that the patient went to."""
    stream = root.child("patient", index)
    main = _main_episode(stream.child("illness"), index)
    pathway = pathways.PATHWAYS[main.pathway]
    person = people.draw_person(stream.child("person"), index, pathway.sex, pathway.age, main.start, taken)
    episodes, policies = PLANTED.get(index) or (
        (main, *_further_episodes(stream.child("further"), person, main)),
        _policies(stream.child("policies"), index, main.start),
    )
    charts: dict[str, Chart] = {}
    for episode in episodes:
        slug = episode.hospital
        if slug not in charts:
            charts[slug] = Chart(hospitals[slug], person, policies, stream.child("chart", slug))
        visits.play(charts[slug], episode)
    _background(charts[main.hospital], stream.child("background"), main, index)
    return list(charts.values())


def _main_episode(stream: Stream, index: int) -> Episode:
    if index in PLANTED:
        return PLANTED[index][0][0]
    key = pathways.ROSTER[(index - 1) % len(pathways.ROSTER)]
    slug = stream.choice((_RENHE, _BINHAI))
    if not _treats(slug, key):
        slug = _RENHE
    return Episode(slug, key, FIRST_DAY + timedelta(days=stream.below(_START_DAYS)))


def _treats(slug: str, key: str) -> bool:
    member = directory.RENHE if slug == _RENHE else directory.BINHAI
    return pathways.PATHWAYS[key].department in member.departments


def _further_episodes(stream: Stream, person: people.Person, main: Episode) -> tuple[Episode, ...]:
    """Give two patients of three another, smaller illness, every second time at the other hospital."""
    start = main.start + timedelta(days=stream.between(90, 480))
    other = _BINHAI if main.hospital == _RENHE else _RENHE
    slug = (other, main.hospital, "")[person.index % 3]
    if not slug or start > LAST_DAY:
        return ()
    age = (start - person.birth).days // _YEAR_DAYS
    fitting = [key for key in pathways.MINOR if _fits(key, slug, age, person.sex) and key != main.pathway]
    return (Episode(slug, stream.choice(fitting), start),) if fitting else ()


def _fits(key: str, slug: str, age: int, sex: str) -> bool:
    pathway = pathways.PATHWAYS[key]
    return pathway.age[0] <= age <= pathway.age[1] and pathway.sex in {"", sex} and _treats(slug, key)


def _policies(stream: Stream, index: int, start: date) -> tuple[Policy, ...]:
    """Insure seven of ten."""
    if not stream.chance(70):
        return ()
    member = stream.choice((directory.ANXIN, directory.TAIHE))
    first = (start - timedelta(days=stream.between(60, 700))).replace(day=1)
    number = f"{member.prefix}{first:%Y}{stream.between(100, 999)}{index:03}{stream.between(10, 99)}"
    return (Policy(member.slug, number, first),)


def _background(chart: Chart, stream: Stream, main: Episode, index: int) -> None:
    """Write allergies and vaccinations where the patient is mainly treated."""
    choice = stream.below(len(terms.ALLERGIES)) if stream.chance(25) else None
    if index == 4:  # noqa: PLR2004 - the patient of the emergency story must have something worth knowing
        choice = _PENICILLIN
    if choice is not None:
        chart.add_allergy(choice, main.start)
    if stream.chance(45):
        first = date(2021, 3, 20) + timedelta(days=stream.between(0, 60))
        chart.add_vaccine("covid", first)
        chart.add_vaccine("covid", first + timedelta(days=28))
    if stream.chance(35):
        chart.add_vaccine("flu", date(stream.between(2022, 2025), 10, stream.between(8, 28)))
