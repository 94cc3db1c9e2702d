"""An order of a corpus in which every part of its content comes early."""

from __future__ import annotations

from math import ceil

import numpy as np
import pandas as pd

from recipes.sources.order import order_of

CLUSTERS = 1_000
COMPONENTS = 64
FITTED = 20_000


def mixed_by_cluster(rows: pd.DataFrame, n_clusters: int = CLUSTERS) -> pd.DataFrame:
    """Return all rows, first one of each cluster of similar texts, then a second one of each, and so on.

    A run that uses the first N rows thus sees all topics, and neither a large source nor a large topic drowns the others.
    Each source has clusters of its own, as many as the square root of its number of rows is of the sum of all roots.
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    mixed = rows["id"].map(lambda one: order_of(f"corpus {one}")).argsort()
    rows = rows.iloc[mixed].reset_index(drop=True)
    roots = rows["source"].value_counts() ** 0.5
    clusters = []
    for source, root in roots.items():
        texts = rows.loc[rows["source"] == source, "text"]
        n = min(len(texts), ceil(n_clusters * root / roots.sum()))
        words = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
        known = words.fit_transform(texts)
        width = min(COMPONENTS, known.shape[1] - 1)
        topics = TruncatedSVD(width, random_state=0).fit(known[:FITTED]).transform(known)
        fitted = MiniBatchKMeans(n, batch_size=4096, n_init=1, random_state=0).fit(topics)
        names = [f"{source} {number}" for number in fitted.predict(topics)]
        clusters.append(pd.Series(names, index=texts.index))
    cluster = pd.concat(clusters).loc[rows.index]
    turn = cluster.groupby(cluster).cumcount()
    return rows.iloc[np.argsort(turn.to_numpy(), kind="stable")]
