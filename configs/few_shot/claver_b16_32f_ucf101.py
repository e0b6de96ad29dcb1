# K videos of each class of split 1: tools/run_protocol.py draws them. load_from is the model of 20 epochs on
# Kinetics-400, a checkpoint of zero_shot/claver_b16_32f_k400.py; its weights are taken, not its epoch or optimiser.
_base_ = ["../_base_/models/claver.py", "../_base_/datasets/ucf101.py", "../_base_/pipelines/32x224.py",
          "../_base_/schedules/few_shot.py", "../_base_/runtime.py"]

model = dict(num_frames=32, classes="ucf101")
load_from = "work_dirs/zero_shot/claver_b16_32f_k400/epoch_20.pth"
