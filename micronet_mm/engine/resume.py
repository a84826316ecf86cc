"""Where a run that is told to resume goes on."""
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.runner import Runner

from micronet_mm.checkpoint.newest import newest_good_checkpoint


def resume_newest(runner: Runner) -> bool:
    """Have a run that is yet to begin go on from the newest checkpoint of its work dir that is whole.

    Returns:
        Whether there is one, in all processes alike; if not, the run begins as its config says.

    Raises:
        CheckpointError: if there are checkpoints, and none can be resumed from.
    """
    found = [newest_good_checkpoint(runner.work_dir) if is_main_process() else None]
    broadcast_object_list(found)
    if found[0] is not None:
        # MMEngine has no public name for what it was asked to do.
        runner._resume, runner._load_from = True, found[0]
    return found[0] is not None
