# Any tower as it is, without training: the mean over frames of its embeddings of single frames, which is the first row
# of the field's tables. --tower names another one (claver ls --towers lists them).
_base_ = ["../_base_/datasets/kinetics400.py", "../_base_/pipelines/as_trained.py", "../_base_/runtime.py"]

model = dict(
    type="CLAVERRecognizer", arch="PE-Core-B-16", pretrained="meta", num_frames=8, classes="kinetics400", bank="auto",
    neck=None)
