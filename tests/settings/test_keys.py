"""Keys that nothing reads."""
import pytest

from claver_mm.settings import complete


@pytest.mark.parametrize("cfg, says", [
    (dict(param_schedulers=[]), "nothing reads 'param_schedulers' in this config; did you mean 'param_scheduler'"),
    (dict(custom_hook=[]), "did you mean 'custom_hooks'"),
    (dict(train_dataloder={}), "did you mean 'train_dataloader'"),
    (dict(resume_=True), "did you mean 'resume'"),
    (dict(env_cfg=dict(cudnn_benchmarks=True)), "env_cfg.cudnn_benchmarks; did you mean 'cudnn_benchmark'"),
    (dict(auto_scale_lr=dict(enabled=True)), "nothing reads auto_scale_lr.enabled; did you mean 'enable'"),
])
def test_a_key_that_is_nearly_one_that_is_read_is_refused(cfg, says):
    """Typos at the top of a config were variables, and nothing was said."""
    with pytest.raises(ValueError, match=says):
        complete(cfg)


def test_variables_of_a_config_stay():
    cfg = dict(colours=["red"], dataset_type="VideoDataset", ann_file_val="a", file_client_args={}, _own=1)
    assert complete(cfg) == cfg
