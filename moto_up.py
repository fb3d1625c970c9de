import sys, time
from moto.server import ThreadedMotoServer
s = ThreadedMotoServer(ip_address="127.0.0.1", port=5055, verbose=False)
s.start()
print("up", flush=True)
while True: time.sleep(10)
