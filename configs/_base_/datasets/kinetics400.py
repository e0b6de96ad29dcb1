# Lists and folders as MMAction2 prepares them (its tools/data/kinetics).
data_root = "data/kinetics400"
train_videos = dict(ann_file="{data_root}/kinetics400_train_list_videos.txt", data_prefix=dict(video="{data_root}/videos_train"))
val_videos = dict(ann_file="{data_root}/kinetics400_val_list_videos.txt", data_prefix=dict(video="{data_root}/videos_val"))
