"""Clusters, and a warning when they do not converge."""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

points = np.vstack([np.random.default_rng(n).normal(5 * n, 1, (30, 4)) for n in range(3)])
clusters = KMeans(n_clusters=3, n_init=5, random_state=0).fit(points)
print(sorted(np.bincount(clusters.labels_).tolist()), round(clusters.inertia_, 4))
print(PCA(n_components=2).fit(points).explained_variance_ratio_.round(4))
