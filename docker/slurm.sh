#!/usr/bin/env bash
# Train on the nodes of a Slurm allocation, from an environment with `torchrun` on PATH; options are those of training:
#   sbatch docker/slurm.sh --data digits --out runs/digits
#   sbatch --nodes 4 --gpus-per-node 8 --cpus-per-task 64 docker/slurm.sh --data cifar10 --data-dir DIR --out runs/cifar10
# The run folder and the data must be visible to every node. RANKS_PER_NODE defaults to one per GPU, or one without GPUs.
#SBATCH --job-name=slimbayes
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --output=slimbayes-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@90
set -euo pipefail

ranks=${RANKS_PER_NODE:-${SLURM_GPUS_ON_NODE:-1}}
read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000))
threads=$((SLURM_CPUS_PER_TASK / ranks))
export OMP_NUM_THREADS=$((threads > 0 ? threads : 1))

# Requeue a job that is preempted or runs out of time; at most a minute of work since its last checkpoint is lost.
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1

srun --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 \
  torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "$ranks" --max-restarts 3 \
  --rdzv-backend c10d --rdzv-endpoint "$first:$port" --rdzv-id "$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}" \
  -m training --resume "$@" &
wait "$!"
