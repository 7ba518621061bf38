import random

from hypothesis import given
from hypothesis import strategies as st

from empathy_lens.games.variants import Cell, distance, scatter, walk

CELLS = st.builds(Cell, st.integers(0, 9), st.integers(0, 9))


@given(CELLS, CELLS, CELLS)
def test_distance_is_a_metric(a, b, c):
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c)


@given(CELLS, CELLS, st.integers(0, 20))
def test_walking_comes_nearer_by_its_steps_and_stops_at_the_goal(start, goal, steps):
    end = walk(start, goal, steps)
    assert distance(start, end) == min(steps, distance(start, goal))
    assert distance(end, goal) == max(0, distance(start, goal) - steps)


def test_scattered_cells_are_distinct_and_in_their_columns():
    cells = scatter(random.Random(0), 10, 5, range(1, 4))
    assert len(set(cells)) == 10
    assert all(0 <= cell.row < 5 and cell.column in range(1, 4) for cell in cells)
