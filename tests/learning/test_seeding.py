from swarmsim.learning.seeding import generator


def test_a_generator_is_the_same_twice_and_another_for_another_name_or_seed():
    def draw(*key):
        return generator(*key).random()

    assert draw(0, "a", 1) == draw(0, "a", 1)
    assert len({draw(0, "a"), draw(1, "a"), draw(0, "b"), draw(0, "a", 1), draw(0, 1, "a")}) == 5
