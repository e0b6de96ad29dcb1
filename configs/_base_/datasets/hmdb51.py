# Lists and folders as MMAction2 prepares them (its tools/data/hmdb51), split 1.
_base_ = ["kinetics400.py"]

class_list = "{{ fileDirname }}/../../../prompts/classes/hmdb51.txt"
prompt_bank = "{{ fileDirname }}/../../../prompts/hmdb51.yaml"
data_root = "data/hmdb51"
train_videos = dict(classes=class_list, ann_file=f"{data_root}/hmdb51_train_split_1_videos.txt",
                    data_prefix=dict(video=f"{data_root}/videos"))
val_videos = dict(classes=class_list, ann_file=f"{data_root}/hmdb51_val_split_1_videos.txt",
                  data_prefix=dict(video=f"{data_root}/videos"))

train_dataloader = dict(dataset=train_videos)
val_dataloader = dict(dataset=val_videos)
test_dataloader = dict(dataset=val_videos)
