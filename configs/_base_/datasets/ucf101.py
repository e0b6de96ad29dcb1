# Lists and folders as MMAction2 prepares them (its tools/data/ucf101), split 1; a leaf adds the pipelines.
class_list = "{{ fileDirname }}/../../../prompts/classes/ucf101.txt"
prompt_bank = "{{ fileDirname }}/../../../prompts/ucf101.yaml"
data_root = "data/ucf101"

train_dataloader = dict(
    batch_size=16,  # 8 GPUs: 128
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="ActionVideoDataset",
        classes=class_list,
        ann_file=f"{data_root}/ucf101_train_split_1_videos.txt",
        data_prefix=dict(video=f"{data_root}/videos")))
val_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="ActionVideoDataset",
        classes=class_list,
        ann_file=f"{data_root}/ucf101_val_split_1_videos.txt",
        data_prefix=dict(video=f"{data_root}/videos"),
        test_mode=True))
test_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="ActionVideoDataset",
        classes=class_list,
        ann_file=f"{data_root}/ucf101_val_split_1_videos.txt",
        data_prefix=dict(video=f"{data_root}/videos"),
        test_mode=True))
val_evaluator = dict(type="AccMetric")
test_evaluator = dict(type="AccMetric")
