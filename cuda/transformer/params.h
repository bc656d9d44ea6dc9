/* Parameters of the kernels around a block's products. */
#pragma once
#include "transformer/gated_params.h"
#include "transformer/loss_params.h"
#include "transformer/norm_params.h"
#include "transformer/pointwise_params.h"
#include "transformer/rope_params.h"
#include "transformer/rows_params.h"
