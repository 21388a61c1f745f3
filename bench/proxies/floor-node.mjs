import { rawHandler } from './lib/raw-handler.mjs';
import { serve } from './lib/serve.mjs';

serve(rawHandler);
