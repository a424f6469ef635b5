from __future__ import annotations

import os

from mpcd.daemon.policynews import changes
from mpcd.governance.policy import Policy
from mpcd.identity import SigningKey

ANNA, BEN = (SigningKey.generate(os.urandom).public for _ in range(2))
OLD = f"""
security = "semi-honest"
[[analyst]]
name = "Anna"
key = "{ANNA}"
[[table]]
name = "t"
purposes = ["GRU"]
uses = {{ x = ["filter"], y = ["group"] }}
[[table]]
name = "u"
purposes = ["GRU"]
uses = {{ z = ["aggregate"] }}
"""
NEW = f"""
[[analyst]]
name = "Ben"
key = "{BEN}"
[[table]]
name = "t"
purposes = ["HMB"]
uses = {{ x = ["filter", "aggregate"] }}
[[table]]
name = "v"
purposes = ["GRU"]
uses = {{ z = ["aggregate"] }}
[disclosure]
safe_threshold = 20
"""


def test_what_a_new_policy_changes_is_said() -> None:
    assert changes(Policy.parse(OLD), Policy.parse(NEW)) == [
        "security: malicious (was semi-honest)",
        "safe_threshold: 20 (was 11)",
        "analyst Anna: no longer accepted",
        "analyst Ben: accepted",
        "table u: no longer published",
        "table t: for HMB (was GRU)",
        "t.x: filter, aggregate (was filter)",
        "t.y: not published (was group)",
        "table v: published, 1 columns, for GRU",
    ]


def test_the_same_meaning_changes_nothing() -> None:
    assert changes(Policy.parse(OLD), Policy.parse(OLD + "\n# a comment\n")) == []


def test_an_analyst_whose_tables_change_is_named() -> None:
    narrowed = OLD.replace(f'key = "{ANNA}"', f'key = "{ANNA}"\ntables = ["u"]')
    assert changes(Policy.parse(OLD), Policy.parse(narrowed)) == ["analyst Anna: may ask about u"]
