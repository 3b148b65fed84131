#!/bin/sh
# Submits cluster_submit.py: a Python worker with a model of its own for each GPU of each executor.
#
#     MASTER=yarn EXECUTORS=4 GPUS=2 CORES=4 ENVIRONMENT=environment.tar.gz MODEL=minilm.tar.gz \
#       sh examples/cluster_submit.sh hdfs:///articles.parquet articles url=http://qdrant:6333
#
# MASTER       yarn, spark://…, k8s://…; to try it out on one machine: MASTER='local-cluster[2,1,1024]' EXECUTORS=2 GPUS=0
# EXECUTORS    how many (1)
# GPUS         of each executor (1); 0 for a cluster without
# CORES        for each GPU, or of each executor without GPUs (1): threads of the tokenizer, and of torch on a CPU
# ENVIRONMENT  Python with this package, as `conda pack` makes it; without it, the executors' own Python is used
# MODEL        the model's files: tar -czf minilm.tar.gz -C all-MiniLM-L6-v2 .   Without it, give an option model=…
# SUBMIT       further options of spark-submit: "--executor-memory 8g --conf spark.executor.memoryOverhead=8g"
#
# A worker of a standalone cluster is told of its GPUs when it is started: spark.worker.resource.gpu.amount and .discoveryScript.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
executors=${EXECUTORS:-1} gpus=${GPUS:-1} cores=${CORES:-1}
tasks=$((gpus > 0 ? gpus : 1)) # of an executor, at a time
archives= options= python=

if [ -n "${ENVIRONMENT:-}" ]; then
  archives=$ENVIRONMENT#environment
  python="--conf spark.pyspark.python=./environment/bin/python --conf spark.pyspark.driver.python=${PYSPARK_DRIVER_PYTHON:-python3}"
fi
if [ -n "${MODEL:-}" ]; then
  archives=${archives:+$archives,}$MODEL#model
  options=model=model
fi
if [ "$gpus" -gt 0 ]; then
  gpu_settings="--files $here/gpus.sh --conf spark.executor.resource.gpu.discoveryScript=./gpus.sh
    --conf spark.executor.resource.gpu.amount=$gpus --conf spark.task.resource.gpu.amount=1"
fi

# without quotes: what may be several words, or none
exec spark-submit --master "$MASTER" \
  --conf spark.executor.instances="$executors" --conf spark.cores.max=$((executors * tasks * cores)) \
  --conf spark.executor.cores=$((tasks * cores)) --conf spark.task.cpus="$cores" \
  ${gpu_settings:-} ${archives:+--archives $archives} $python ${SUBMIT:-} \
  "$here/cluster_submit.py" "$@" $options
