/* Included once per dtype by fm_level.h: every body, in the order of use, then the table. */
#include "fm_vec.body.h"
#include "fm_math.body.h"
#include "fm_elementwise.body.h"
#include "fm_updates.body.h"
#include "fm_rows.body.h"
#include "fm_tile.body.h"
#include "fm_images.body.h"
#include "fm_table.body.h"
