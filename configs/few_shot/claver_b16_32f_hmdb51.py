# K videos of each class of split 1: tools/run_protocol.py draws them. load_from is the model of 20 epochs on
# Kinetics-400, a checkpoint of zero_shot/claver_b16_32f_k400.py; its weights are taken, not its epoch or optimiser.
_base_ = ["../_base_/models/claver.py", "../_base_/datasets/hmdb51_32x224.py",
          "../_base_/schedules/few_shot.py", "../_base_/runtime.py"]

model = _base_.model
model.neck.num_frames = 32
model.cls_head.update(classes=_base_.class_list, bank=_base_.prompt_bank)
for augment in model.data_preprocessor.blending.augments:
    augment.num_classes = 51
load_from = "work_dirs/zero_shot/claver_b16_32f_k400/epoch_20.pth"
