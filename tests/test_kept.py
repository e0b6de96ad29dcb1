"""What is dear is made once, and never stale."""
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from claver_mm.kept import Kept, bit_sums, versions


def test_two_threads_that_ask_for_the_same_make_it_once():
    kept, made, both_there = Kept(1000), [], threading.Barrier(4)

    def ask(_):
        both_there.wait()
        return kept.get("key", lambda: made.append(1) or torch.zeros(3))

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(ask, range(4))
    assert len(made) == 1 and all(other is first for other in others)


def test_the_least_recently_used_go_and_the_newest_stays():
    kept = Kept(100)
    for key in "abc":
        kept.get(key, lambda: torch.zeros(10))  # 40 bytes
        kept.get("a", lambda: torch.zeros(10))
    assert len(kept) == 2
    first = kept.get("a", lambda: pytest.fail("a was used last"))
    assert first.nbytes == 40
    kept.get("large", lambda: torch.zeros(1000))
    assert len(kept) == 1
    kept.get("large", lambda: pytest.fail("the newest stays"))


def test_an_error_is_not_kept():
    kept = Kept(100)
    with pytest.raises(ZeroDivisionError):
        kept.get("key", lambda: 1 / 0)
    assert kept.get("key", lambda: torch.ones(1)) == 1


def test_a_copy_begins_empty():
    """Models are copied (EMA) and pickled."""
    kept = Kept(100)
    kept.get("key", lambda: torch.zeros(1))
    assert len(copy.deepcopy(kept)) == len(pickle.loads(pickle.dumps(kept))) == 0


@pytest.mark.parametrize("size", [(), (1,), (7,), (32,), (33, 31), (200, 300), (5000, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.bool])
def test_every_changed_bit_and_every_change_of_places_shows(size, dtype):
    x = torch.rand(size).mul(2).to(dtype)
    other = torch.rand(50)
    before = bit_sums([other, x])
    flat = x.data.view(-1)
    for place in {0, len(flat) // 2, len(flat) - 1}:
        old = flat[place].clone()
        flat[place] = ~old if dtype == torch.bool else torch.nextafter(old, old + 1)
        assert bit_sums([other, x]) != before, place
        flat[place] = old
    assert bit_sums([other, x]) == before
    if len(flat) > 8 and dtype != torch.bool:
        assert bit_sums([other, x.flip(0)]) != before
        assert bit_sums([other, x.flatten().roll(8192).view(size)] if len(flat) > 9000 else [x, other]) != before


def test_versions_see_writes_and_replacements_at_no_cost():
    weight = torch.nn.Parameter(torch.zeros(3))
    before = versions([weight])
    assert versions([weight]) == before
    with torch.no_grad():
        weight.add_(1)
    after = versions([weight])
    assert after != before
    weight.data = torch.zeros(3)
    assert versions([weight]) != after
