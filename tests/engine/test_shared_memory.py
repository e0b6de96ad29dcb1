"""A full /dev/shm ends a run."""
import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from claver_mm.engine import ClaverRunner
from claver_mm.engine.shared_memory import SharedCollate


class Clips(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, number):
        sample = ActionDataSample().set_gt_label(number)
        return dict(inputs=torch.full((1, 3), number), data_samples=sample)


class Full(Clips):
    def __getitem__(self, number):
        def share(tensor):
            raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device")
        torch.Tensor.share_memory_ = share  # of the worker's process
        return super().__getitem__(number)


def test_a_full_shared_memory_ends_a_run_with_an_error():
    """A thread of the worker printed it, and the run waited for the batch for good."""
    loader = DataLoader(Full(), batch_size=2, num_workers=1, collate_fn=SharedCollate(pseudo_collate), timeout=60)
    with pytest.raises(RuntimeError, match="(?s)no room for a batch in shared memory, /dev/shm.*--shm-size.*now 1"):
        list(loader)


def test_batches_of_workers_are_the_same_and_shared():
    one, other = (DataLoader(Clips(), batch_size=2, num_workers=workers, collate_fn=SharedCollate(pseudo_collate))
                  for workers in (0, 1))
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(torch.stack(mine["inputs"]), torch.stack(theirs["inputs"]))
        assert [sample.gt_label.item() for sample in mine["data_samples"]] == [
            sample.gt_label.item() for sample in theirs["data_samples"]]
        assert not mine["inputs"][0].is_shared()
        assert all(tensor.is_shared() for tensor in [*theirs["inputs"], theirs["data_samples"][0].gt_label])


def test_loaders_of_a_run_report_it():
    cfg = dict(dataset=Clips(), sampler=dict(type="DefaultSampler", shuffle=False), batch_size=2, num_workers=1)
    assert isinstance(ClaverRunner.build_dataloader(cfg).collate_fn, SharedCollate)
