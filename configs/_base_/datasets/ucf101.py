# Lists and folders as MMAction2 prepares them (its tools/data/ucf101), split 1.
data_root = "data/ucf101"
train_videos = dict(ann_file="{data_root}/ucf101_train_split_1_videos.txt", data_prefix=dict(video="{data_root}/videos"))
val_videos = dict(ann_file="{data_root}/ucf101_val_split_1_videos.txt", data_prefix=dict(video="{data_root}/videos"))
