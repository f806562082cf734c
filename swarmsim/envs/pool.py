"""The environments of one process: those of training, and those of evaluation, which may be the same."""

import logging
from typing import Literal

from swarmsim.envs.border import Environment
from swarmsim.envs.close import close_all
from swarmsim.envs.make import EnvSource, make_env
from swarmsim.errors import SettingsError

Sharing = Literal["auto", "own", "shared"]

logger = logging.getLogger("swarmsim")


class EnvPool:
    """Environments of one source, N for training and N for evaluation.

    Args:
        n_envs: N, unless fewer can be made, and that many are enough.
        at_least: how many are enough; by default all.
        sharing: whether evaluation has environments of its `own`, those `shared` with training, or, with `auto`, its
            own if they can be made beside the others.

    Attributes:
        training, evaluation: N environments each.

    Raises:
        SettingsError: environments cannot be made; those that could be are closed.
    """

    def __init__(
        self, source: EnvSource, n_envs: int, sharing: Sharing = "auto", *, at_least: int | None = None
    ) -> None:
        self._id = source.id
        self.training: list[Environment] = []
        self.evaluation = self.training
        try:
            self._fill(self.training, source, n_envs)
            if sharing != "shared":
                self.evaluation = []
                self._fill(self.evaluation, source, n_envs)
        except SettingsError as error:
            n_made = len(self.training)
            if (at_least or n_envs) <= n_made < n_envs and sharing != "own":
                logger.warning("%s; it plays %d at a time, also in evaluations (envs: %d)", error, n_made, n_made)
                self.evaluation = self.training
                return
            if n_made == n_envs and sharing == "auto":
                close_all(self.evaluation, self._id)
                self.evaluation = self.training
                logger.warning("%s; evaluations use the environments of training (eval_env: shared)", error)
                return
            self.close()
            if n_made == 0:
                raise
            remedy = "eval_env: shared needs no more" if n_made == n_envs else f"'envs: {n_made}' needs no more"
            raise SettingsError(f"{error}; beside {n_made} that could be made: {remedy}") from None
        except BaseException:
            self.close()
            raise

    @property
    def are_shared(self) -> bool:
        """Whether an evaluation within training ends the episodes that training plays."""
        return self.evaluation is self.training

    def some(self, number: int, *, is_evaluation: bool) -> list[Environment]:
        """Return the first environments for training or evaluation; raises SettingsError if there are not so many."""
        envs = self.evaluation if is_evaluation else self.training
        if number > len(envs):
            raise SettingsError(f"{self._id}: {number} were played side by side, and only {len(envs)} can be made here")
        return envs[:number]

    @staticmethod
    def _fill(envs: list[Environment], source: EnvSource, number: int) -> None:
        while len(envs) < number:
            envs.append(make_env(source))

    def close(self) -> None:
        """Close all environments; a second call does nothing."""
        envs = [*self.training, *(self.evaluation if self.evaluation is not self.training else ())]
        self.training, self.evaluation = [], []
        close_all(envs, self._id)
