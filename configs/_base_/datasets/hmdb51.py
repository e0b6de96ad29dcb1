# Lists and folders as MMAction2 prepares them (its tools/data/hmdb51), split 1.
data_root = "data/hmdb51"
train_videos = dict(ann_file="{data_root}/hmdb51_train_split_1_videos.txt", data_prefix=dict(video="{data_root}/videos"))
val_videos = dict(ann_file="{data_root}/hmdb51_val_split_1_videos.txt", data_prefix=dict(video="{data_root}/videos"))
