"""How properties are searched for counterexamples.

The suite judges a change, so it must say the same of the same code on any machine, however busy: every run
tries the same examples, and none fails for being slow. Chance is left to `make explore`, whose finds are kept
as `@example`s.
"""

from hypothesis import HealthCheck, settings

STEADY = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

settings.register_profile("steady", STEADY)
settings.register_profile("explore", STEADY, derandomize=False, max_examples=2000, print_blob=True)
settings.load_profile("steady")
