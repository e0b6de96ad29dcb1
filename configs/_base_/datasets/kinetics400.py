# Lists and folders as MMAction2 prepares them (its tools/data/kinetics); a leaf adds the pipelines.
class_list = "{{ fileDirname }}/../../../prompts/classes/kinetics400.txt"
prompt_bank = "{{ fileDirname }}/../../../prompts/kinetics.yaml"
data_root = "data/kinetics400"

train_dataloader = dict(
    batch_size=16,  # 8 GPUs: 128
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="ActionVideoDataset",
        classes=class_list,
        ann_file=f"{data_root}/kinetics400_train_list_videos.txt",
        data_prefix=dict(video=f"{data_root}/videos_train")))
val_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="ActionVideoDataset",
        classes=class_list,
        ann_file=f"{data_root}/kinetics400_val_list_videos.txt",
        data_prefix=dict(video=f"{data_root}/videos_val"),
        test_mode=True))
test_dataloader = dict(val_dataloader, batch_size=1)
val_evaluator = dict(type="AccMetric")
test_evaluator = dict(type="AccMetric")
