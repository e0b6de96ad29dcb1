# Lists and folders as MMAction2 prepares them (its tools/data/kinetics).
_base_ = ["kinetics400.py"]

class_list = "{{ fileDirname }}/../../../prompts/classes/kinetics600.txt"
prompt_bank = "{{ fileDirname }}/../../../prompts/kinetics.yaml"
data_root = "data/kinetics600"
train_videos = dict(classes=class_list, ann_file=f"{data_root}/kinetics600_train_list_videos.txt",
                    data_prefix=dict(video=f"{data_root}/videos_train"))
val_videos = dict(classes=class_list, ann_file=f"{data_root}/kinetics600_val_list_videos.txt",
                  data_prefix=dict(video=f"{data_root}/videos_val"))

train_dataloader = dict(dataset=train_videos)
val_dataloader = dict(dataset=val_videos)
test_dataloader = dict(dataset=val_videos)
