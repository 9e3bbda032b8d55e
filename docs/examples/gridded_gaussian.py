"""Example of a mechanism: Gaussian noise, and the sum rounded to a grid. What is done to a release afterwards is free.

Registered in a distribution's pyproject.toml:

    [project.entry-points."semtb.mechanisms"]
    gaussian-grid = "gridded_gaussian:GriddedGaussian"
"""

import numpy as np

from testbed.privacy.mechanisms.gaussian import Gaussian

STEP = 2.0**-6  # of the grid, in units of the noise's scale


class GriddedGaussian(Gaussian):
    name = "gaussian-grid"  # its DpEvent, norm and distribution are the Gaussian's

    def add(self, value, sensitivity, noise):
        noisy, step = super().add(value, sensitivity, noise), STEP * self.scale(sensitivity)
        return np.round(noisy / step).astype(np.float32) * np.float32(step) if step else noisy

    def entry_tail(self, values, probability):
        return super().entry_tail(values, probability) + STEP / 2

    def norm_tail(self, values, probability):
        return super().norm_tail(values, probability) + STEP / 2 * np.sqrt(values)
