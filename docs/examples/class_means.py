"""Example of a strategy: clients release the sum of their pictures of each class; labels follow from the nearest.

Registered in a distribution's pyproject.toml:

    [project.entry-points."semtb.strategies"]
    class-means = "class_means:CLASS_MEANS"
"""

import numpy as np

from testbed.federation.base import Release, Strategy, distilled, softmax
from testbed.federation.tensors import Spec
from testbed.privacy.sensitivity import class_sums, class_sums_sensitivity


def release(agreed):
    """A column of pixels for each class; a record adds at most 1 (in L2) to one of them."""
    most = float(agreed.records_at_most)
    sums = Spec((agreed.pixels, agreed.classes), l2=most, largest=most)
    return Release({"sums": sums}, class_sums_sensitivity(agreed.pixels, 1.0))


class Client:
    def __init__(self, side):
        self.side = side

    def value(self, number, pair, sent):
        records, mean = self.side.records, self.side.public.mean(axis=0)
        return {"sums": class_sums(records.pictures - mean, records.labels, self.side.agreed.classes, 1.0)}


class Server:
    def __init__(self, side):
        self.side, self.sums = side, np.zeros((side.agreed.pixels, side.agreed.classes))

    def sends(self):
        return {}

    def take(self, uploads):
        self.sums += sum(upload.tensors["sums"] for upload in uploads)

    def probabilities(self):
        lengths = np.maximum(np.linalg.norm(self.sums, axis=0), 1e-9)
        return softmax(10 * (self.side.public - self.side.public.mean(axis=0)) @ (self.sums / lengths))

    def teach(self, number):
        return distilled(self.side, self.probabilities(), number)


CLASS_MEANS = Strategy("class-means", "nearest of the classes' means", release, Client, Server)
