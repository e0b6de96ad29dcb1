_base_ = ["claver_b16_32f_hmdb51.py"]

model = dict(neck=dict(type="KMCTNeck"))
load_from = "work_dirs/zero_shot/claver_b16_32f_kmct_k400/epoch_20.pth"
