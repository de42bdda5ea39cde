"""All planted bugs, by name."""

from __future__ import annotations

from tests.mutation.bugs_of_data import OF_DATA
from tests.mutation.bugs_of_delivery import OF_DELIVERY
from tests.mutation.bugs_of_liveness import OF_LIVENESS
from tests.mutation.bugs_of_runs import OF_RUNS

MUTANTS = {mutant.name: mutant for mutant in (*OF_DELIVERY, *OF_LIVENESS, *OF_DATA, *OF_RUNS)}
