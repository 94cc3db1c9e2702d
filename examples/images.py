"""Distil two image embeddings into one small network, and evaluate all three.

    python examples/images.py

Needs `pip install "polydistill[vision]"`. The images are scikit-learn's handwritten digits, 8 x 8 pixels. One teacher is
the built-in `hog-colour`, which needs no weights; the other is an object of this script with a method `encode`.
"""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import polydistill

TEST_ROWS = 797


class Eigendigits:
    """A teacher: principal components of the pixels."""

    name = "eigendigits"

    def __init__(self, images: list[np.ndarray]) -> None:
        self._pca = PCA(32, random_state=0).fit(np.stack(images).reshape(len(images), -1))

    def encode(self, examples: list[bytes]) -> np.ndarray:
        """Return embeddings, `(n_images, 32)`, of images that are given as the bytes of a PNG, JPEG or GIF."""
        pixels = [np.asarray(Image.open(io.BytesIO(one)).convert("L")).ravel() for one in examples]
        return self._pca.transform(np.stack(pixels))


def main() -> None:
    """Distil, find similar images, evaluate."""
    digits = load_digits()
    images = [(255 - 15.9 * image).astype(np.uint8) for image in digits.images]  # uint8 arrays
    test, corpus = images[:TEST_ROWS], images[TEST_ROWS:]

    student = polydistill.distill(
        corpus, teachers=["hog-colour", Eigendigits(corpus)], settings={"training": {"epochs": 6}}
    )
    print(student)

    first, *others = student.encode(test)
    nearest = student.similarity(first, np.stack(others))[0].argsort()[::-1][:5] + 1
    print(f"digits most similar to a {digits.target[0]}: {digits.target[nearest].tolist()}")

    task = pd.DataFrame({"image": test, "label": digits.target[:TEST_ROWS].astype(str)})
    task["split"] = np.where(task.index < TEST_ROWS // 2, "train", "test")
    print(polydistill.evaluate(student, {"digits": {"kind": "classification", "frame": task}}))


if __name__ == "__main__":
    main()
