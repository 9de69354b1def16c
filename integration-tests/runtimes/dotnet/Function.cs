// Ends an invocation as its payload asks: {"behavior": "kill"}. Its own bootstrap on the Runtime
// API, over plain sockets; an exception that nobody handles is logged as AWS's RuntimeSupport does.
using System;
using System.Collections.Generic;
using System.IO;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading;

static class Function
{
    const string Runtime = "/2018-06-01/runtime";
    const int Mb = 1 << 20;

    static void Main()
    {
        string what = Environment.GetEnvironmentVariable("SANDBOX_INIT") ?? "";
        if (what == "kill") Grow();
        if (what == "heap") Heap();
        for (;;)
        {
            string next = Request("GET", Runtime + "/invocation/next", "");
            int end = next.IndexOf("\r\n\r\n", StringComparison.Ordinal);
            string json = next.Substring(end + 4);
            string pattern = "Lambda-Runtime-Aws-Request-Id: (\\S+)";
            string id = Regex.Match(next, pattern, RegexOptions.IgnoreCase).Groups[1].Value;
            string path = Runtime + "/invocation/" + id;
            foreach (string line in Lines(json)) Console.WriteLine(line.Replace("{id}", id));
            try
            {
                Perform(Text(json, "behavior"), json);
                Request("POST", path + "/response", "{\"status\":\"ok\"}");
            }
            catch (Exception error)
            {
                string now = DateTime.UtcNow.ToString("yyyy-MM-ddTHH:mm:ss.fffZ");
                Console.Error.WriteLine(now + "\t" + id + "\tfail\t" + error);
                string kind = error.GetType().Name;
                Request("POST", path + "/error", "{\"errorType\":\"" + kind + "\"}");
            }
        }
    }

    static void Perform(string behavior, string json)
    {
        switch (behavior)
        {
            case "kill":
            case "grow":
                Grow();
                break;
            case "heap":
                Heap();
                break;
            case "thread": // nobody handles what ends a thread: the CLR gives up by itself
                var thread = new Thread(Heap);
                thread.Start();
                thread.Join();
                break;
            case "array": // one request beyond any heap: an exception that nobody handles
                Console.WriteLine(new byte[int.MaxValue - 64].Length);
                break;
            case "handled":
                try
                {
                    Console.WriteLine(new byte[int.MaxValue - 64].Length);
                }
                catch (OutOfMemoryException error)
                {
                    Console.Error.WriteLine("served from disk instead: " + error.Message);
                }
                break;
            case "near-limit":
                var held = new List<byte[]>();
                for (int mb = int.Parse(Number(json, "mb")); mb > 0; mb--) held.Add(new byte[Mb]);
                foreach (byte[] piece in held) Array.Fill(piece, (byte)1);
                break;
            case "crash":
                Environment.Exit(int.Parse("0" + Number(json, "code")));
                break;
            case "fail-fast":
                Environment.FailFast("asked for");
                break;
            case "timeout":
                Thread.Sleep(3600 * 1000);
                break;
            case "error":
                throw new InvalidOperationException("asked for");
        }
    }

    // Beside the managed heap: no limit but the kernel's.
    static void Grow()
    {
        for (;;)
        {
            IntPtr held = Marshal.AllocHGlobal(Mb);
            for (int at = 0; at < Mb; at += 4096) Marshal.WriteByte(held, at, 1);
        }
    }

    static void Heap()
    {
        var held = new List<byte[]>();
        for (;;)
        {
            held.Add(new byte[Mb]);
            Array.Fill(held[held.Count - 1], (byte)1);
        }
    }

    static string Request(string method, string path, string body)
    {
        string[] api = Environment.GetEnvironmentVariable("AWS_LAMBDA_RUNTIME_API").Split(':');
        using (var client = new TcpClient(api[0], int.Parse(api[1])))
        using (NetworkStream stream = client.GetStream())
        {
            byte[] head = Encoding.UTF8.GetBytes(
                method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" +
                "Content-Type: application/json\r\nContent-Length: " + body.Length +
                "\r\n\r\n" + body);
            stream.Write(head, 0, head.Length);
            using (var reader = new StreamReader(stream)) return reader.ReadToEnd();
        }
    }

    static string Text(string json, string name)
    {
        return Regex.Match(json, "\"" + name + "\":\\s*\"([^\"]*)\"").Groups[1].Value;
    }

    static string Number(string json, string name)
    {
        return Regex.Match(json, "\"" + name + "\":\\s*(\\d+)").Groups[1].Value;
    }

    static IEnumerable<string> Lines(string json)
    {
        string lines = Regex.Match(json, "\"lines\":\\s*\\[([^\\]]*)\\]").Groups[1].Value;
        foreach (Match line in Regex.Matches(lines, "\"([^\"]*)\""))
            yield return line.Groups[1].Value;
    }
}
