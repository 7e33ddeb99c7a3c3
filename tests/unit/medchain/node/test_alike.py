"""Names that a reader takes for one another, and such that he does not."""

from __future__ import annotations

import pytest

from medchain.node.alike import look_alike

ALIKE = {
    "case": ("Renhe Hospital", "RENHE hospital"),
    "space": ("Renhe Hospital", " Renhe\u00a0\u2009Hospital"),
    "nothing that is shown": ("仁和医院", "仁\u200b和\u2060医院\ufeff"),
    "direction": ("Renhe Hospital", "\u202eRenhe Hospital\u202c"),
    "punctuation": ("Renhe Hospital", "Renhe-Hospital."),
    "width": ("ABC 医院 1", "\uff21\uff22\uff23医院\uff11"),
    "accents": ("Renhe", "R\u00e9nh\u00eb"),
    "Cyrillic": ("Renhe Hospital", "R\u0435nh\u0435 H\u043espit\u0430l"),
    "Cyrillic capitals": ("TOP CAPE", "\u0422\u041e\u0420 \u0421\u0410\u0420\u0415"),
    "Greek": ("ATHENA", "\u0391\u03a4\u0397\u0395\u039d\u0391"),
    "compatibility ideograph": ("\u91d1", "\uf90a"),
    "radicals": ("人民医院", "\u2f08\u2ea0医院"),
    "a radical of before": ("长青门诊", "\u2ed3\u2ed8\u2ed4诊"),
    "I and l": ("Clinic of Allied Care", "CIinic of AIIied Care"),
    "1 and l": ("Clinic", "C1inic"),
    "O and 0": ("Oriental", "0riental"),
    "signs alone": ("\u2014", "\u2026"),
}


@pytest.mark.parametrize("name", list(ALIKE))
def test_what_differs_by_what_is_hardly_seen_looks_alike(name):
    one, other = ALIKE[name]
    assert one != other
    assert look_alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("仁和医院", "仁济医院"),
        ("Renhe Hospital", "Renhe Hospital 2"),
        ("Больница", "Bolnitsa"),
        ("Anxin", "Anxing"),
        ("Mali", "Mail"),
    ],
)
def test_other_names_do_not(one, other):
    assert not look_alike(one, other)
