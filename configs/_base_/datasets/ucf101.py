# Lists and folders as MMAction2 prepares them (its tools/data/ucf101), split 1.
_base_ = ["kinetics400.py"]

class_list = "{{ fileDirname }}/../../../prompts/classes/ucf101.txt"
prompt_bank = "{{ fileDirname }}/../../../prompts/ucf101.yaml"
data_root = "data/ucf101"
train_videos = dict(classes=class_list, ann_file=f"{data_root}/ucf101_train_split_1_videos.txt",
                    data_prefix=dict(video=f"{data_root}/videos"))
val_videos = dict(classes=class_list, ann_file=f"{data_root}/ucf101_val_split_1_videos.txt",
                  data_prefix=dict(video=f"{data_root}/videos"))

train_dataloader = dict(dataset=train_videos)
val_dataloader = dict(dataset=val_videos)
test_dataloader = dict(dataset=val_videos)
