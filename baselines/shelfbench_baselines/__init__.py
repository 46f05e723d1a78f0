"""Classical baselines: HOG features and a one-vs-rest linear SVM."""
