"""The mean of the models' probabilities, weighted by what the models are worth: by the returns of episodes they led.

A weighted linear pool (Genest and Zidek 1986, "Combining Probability Distributions", section 3). As long as no model
has led twice, all weigh the same.
"""

from swarmsim.learning.aggregate import Rule
from swarmsim.learning.rules.sum import mean

RULE = Rule(mean, is_weighted=True)
