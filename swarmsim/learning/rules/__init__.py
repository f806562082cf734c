"""The built-in aggregation rules: each module of this folder is one, known by the module's name."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from swarmsim.learning.aggregate import Rule

RULES: Mapping[str, Rule] = {
    module.name: import_module(f"{__name__}.{module.name}").RULE for module in iter_modules(__path__)
}
