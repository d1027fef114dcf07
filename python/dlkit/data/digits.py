"""Real handwritten digits that need no network: the set that scikit-learn carries.

1797 grey images of 8x8 pixels with values 0 … 16, by 13 writers: the test part of the UCI set *Optical
Recognition of Handwritten Digits* (Alpaydin and Kaynak, 1998).
"""

from __future__ import annotations

import numpy as np

from .dataset import Dataset


def load_digits() -> Dataset:
    """Load the digits with dlkit's fixed split.

    The split uses no random numbers: within each class, in file order, every fifth sample is a test sample
    (the 5th, 10th, …), all others are training samples. Both parts so have the same class proportions:
    1442 training and 355 test samples. Writers occur in both parts.

    Returns
    -------
    Dataset
        8x8 images flattened to 64 values, divided by 16 to lie in [0, 1].

    Raises
    ------
    ImportError
        scikit-learn is not installed.
    """
    try:
        import sklearn
        from sklearn.datasets import load_digits as bundled
    except ImportError as error:
        raise ImportError('the digits data set comes with scikit-learn: pip install "dlkit[cli]"') from error

    images, labels = bundled(return_X_y=True)
    x = (np.asarray(images, dtype=np.float32) / np.float32(16)).reshape(len(labels), -1)
    y = np.asarray(labels, dtype=np.int64)
    is_test = np.zeros(len(y), dtype=bool)
    for digit in range(10):
        is_test[np.flatnonzero(y == digit)[4::5]] = True
    return Dataset(
        name="digits",
        x_train=x[~is_test],
        y_train=y[~is_test],
        x_test=x[is_test],
        y_test=y[is_test],
        classes=[str(digit) for digit in range(10)],
        image_shape=(8, 8),
        source=f"scikit-learn {sklearn.__version__}",
    )
