"""The history of a run: its record, and how it shows itself as text, in a notebook and as a picture."""

from typing import TYPE_CHECKING

from swarmsim.errors import SettingsError
from swarmsim.names import format_score
from swarmsim.results.record import Round, RunRecord

if TYPE_CHECKING:
    from swarmsim.results.pictures import Picture

__all__ = ["TIMES", "History", "Round"]

TIMES = ("seconds", "steps_per_second")  # the values of a round in which two equal runs differ


class History(RunRecord):
    __doc__ = RunRecord.__doc__

    def plot(self) -> "Picture":
        """Return a picture of the scores, which a notebook shows.

        Raises:
            SettingsError: no round has ended so far.
        """
        if not self.rounds:
            raise SettingsError("no round has ended so far, so there is nothing to plot")
        from swarmsim.results.pictures import scores

        return scores(self)

    def __str__(self) -> str:
        """Return the rounds as a table in plain text."""
        head = f"{'round':>5} {'train':>9} {'eval':>9} {'evolved':>9} {'env steps':>10} {'steps/s':>9}"
        rows = (
            f"{r.round:>5} {format_score(r.train_score):>9} {format_score(r.eval_score):>9}"
            f" {format_score(r.eval_score_evolved):>9}"
            f" {r.env_steps:>10,} {r.steps_per_second:>9,.0f}"
            for r in self.rounds
        )
        return "\n".join((head, *rows))

    def _repr_html_(self) -> str:
        """Return the rounds as an HTML table, which a notebook shows."""
        from swarmsim.results.html import render, rounds_table

        return render("table.html", table=rounds_table(self, self.title))
