-- breaking
-- What the model answers to the evaluation prompts is an event of its own: older daemons do not know its name.
alter type event_type add value 'PROMPT_ANSWERED';
