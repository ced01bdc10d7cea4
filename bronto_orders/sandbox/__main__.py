from __future__ import annotations

import sys

from bronto_orders.sandbox.runner import main

sys.exit(main())
