import Foundation
import TensorFiles
import Testing

/// Errors name what was typed: the option as it was spelt and its value, not how the command has them.
@Suite("What was typed")
struct TypedNameTests {
  /// Beside q.npy, k.npy and v.npy of two sequences: a beta, a state, numbers for keys and pairs.
  private func process() throws -> RunProcess {
    let process = try RunProcess()
    func write(_ name: String, _ shape: [Int], _ value: Float = 0.5) throws {
      try process.write(
        name, shape, as: .float32, [Float](repeating: value, count: shape.reduce(1, *)))
    }
    try write("beta", [2, 2, 9])
    try write("wide", [2, 2, 9], 2.5)
    try write("state", [2, 2, 6, 3])
    try write("flat", [1, 2])
    try write("bias", [2, 9])
    try write("pairs", [5, 9])
    try process.write("truth", [5, 9], as: .bool, [UInt8](repeating: 1, count: 45))
    return process
  }

  @Test(
    "operands",
    arguments: [
      (
        "flash", "--beta beta.npy",
        "--beta beta.npy: flash takes query, key and value alone; leave it out", 64
      ),
      (
        "delta", "--beta beta.npy --gate beta.npy",
        "--gate beta.npy: delta takes beta, state; leave it out", 64
      ),
      (
        "delta", "--beta beta.npy --past-state flat.npy",
        "--past-state flat.npy has shape [1, 2]; state is [b, hKV, d, dV] = [2, 2, 6, 3] here", 1
      ),
      (
        "delta", "--beta beta.npy --past-state state.npy --operand state=state.npy",
        "--past-state state.npy: the operand state is given by --operand state=state.npy, too; "
          + "leave one of them out", 64
      ),
      (
        "delta", "--beta beta.npy --beta=wide.npy --operand beta=beta.npy",
        "--beta wide.npy: the operand beta is given by --operand beta=beta.npy, too", 64
      ),
      ("delta", "", "delta needs the operand beta, [b, hKV, nKV] (", 64),
      ("delta", "", "give --beta FILE, or save it as beta beside q, k and v of --inputs", 64),
      ("indexer(2, heads: 2, dim: 4)", "", "give --index-q FILE, or save it as index_q", 64),
      ("ssd", "", "FILE, or save it as", 64), ("ssd", "", "give --operand ", 64),
      ("delta", "--operand beta.npy", "must be NAME=FILE.npy or NAME=FILE.safetensors:KEY", 64),
    ])
  func operands(_ strategy: String, _ options: String, _ message: String, _ code: Int32) throws {
    let process = try process()
    defer { process.directory.remove() }
    let arguments = options.split(separator: " ").map(String.init)
    try process.refuse(["--strategy", strategy, "--causal"] + arguments, message, code: code)
    let result = try process.run(["--strategy", strategy, "--causal"] + arguments)
    #expect(options.contains("--operand") || !result.error.contains("--operand beta"))
  }

  @Test("a state is taken where there is one to go on from, and the error says where not")
  func states() throws {
    let process = try process()
    defer { process.directory.remove() }
    let state = ["--causal", "--past-state", "state.npy"]
    for strategy in ["linear", "linear(relu)", "linear(favor)"] {
      try process.refuse(
        ["--strategy", strategy] + state,
        "--past-state state.npy: linear takes no state with these parameters (a normaliser or random "
          + "features leave none to go on from); choose others (attnbench list), or leave it out")
    }
    for strategy in ["linear(identity)", "linear(relu, normalise: false)"] {
      let result = try process.run(["--strategy", strategy] + state)
      #expect(result.code == 0, "\(result.error)")
    }
  }

  @Test(
    "what a strategy does not serve",
    arguments: [
      ("--key-bias bias.npy", "--key-bias bias.npy: is not served by topk"),
      ("--bias pairs.npy", "--bias pairs.npy: is not served by topk"),
      ("--mask pairs.npy", "--mask pairs.npy: is not served by topk"),
      ("--mask truth.npy", "--mask truth.npy: is not served by topk"),
      (
        "--bias pairs.npy --key-bias bias.npy",
        "--key-bias bias.npy and --bias pairs.npy: is not served by topk"
      ),
    ])
  func unserved(_ options: String, _ message: String) throws {
    let process = try process()
    defer { process.directory.remove() }
    try process.refuse(
      ["--strategy", "topk(2)"] + options.split(separator: " ").map(String.init), message)
  }

  @Test("biases of keys in the file of --inputs are named by it")
  func heldBias() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let tensors = try TestTensors()
    let bias = try HostTensor(shape: [9]) { $0.update(repeating: 0.5) }
    try SafetensorsFile.write(
      [
        NamedTensor("a.q", tensors.query), NamedTensor("a.k", tensors.key),
        NamedTensor("a.v", tensors.value), NamedTensor("a.key_bias", bias),
      ], to: directory.path("t.safetensors"))
    let result = try AttnbenchProcess.run(
      ["run", "--inputs", "t.safetensors:a", "--strategy", "topk(2)", "-o", "o.npy"],
      in: directory.root)
    #expect(result.code == 1)
    #expect(
      result.error.contains("error: --inputs t.safetensors (a.key_bias) is not served by topk"),
      "\(result.error)")
  }

  @Test("two outputs that are one file")
  func outputs() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    for (arguments, message) in [
      (
        ["plan", "choice.json", "--save", "a.json", "--plot", "a.json"],
        "--plot a.json: is the same file as --save a.json; give each output a file of its own"
      ),
      (
        ["plan", "choice.json", "--save", "a.json", "--plot", "./a.json"],
        "--plot ./a.json: is the same file as --save a.json"
      ),
      (
        ["recommend", "--n", "8", "--record", "a.json", "--plot", "b.svg", "--save", "a.json"],
        "--record a.json: is the same file as --save a.json"
      ),
    ] {
      let result = try AttnbenchProcess.run(arguments, in: directory.root)
      #expect(result.code == 64 && result.errorLines.count == 1, "\(result.error)")
      #expect(result.error.contains("error: \(message)"), "\(result.error)")
      #expect(try directory.contents.isEmpty)
    }
  }

  @Test(
    "numbers below 0",
    arguments: [
      "--kv-lengths", "--query-lengths", "--prefix-lengths", "--cu-seqlens",
    ])
  func negative(_ option: String) throws {
    let process = try process()
    defer { process.directory.remove() }
    try process.refuse(["--strategy", "flash", option, "-1,-1"], "\(option) -1")
  }

  /// What is typed may be at fault, or what a file holds.
  @Test("exit code 64 is for the command line, 1 for what files hold")
  func codes() throws {
    let process = try process()
    defer { process.directory.remove() }
    let integers = FileElementType.integer(isSigned: true, byteWidth: 8)
    try process.write("far", [2], as: integers, [10, 1])
    try process.write("one", [1], as: integers, [3])
    try process.write("three", [3], as: integers, [1, 2, 3])
    try process.write("matrix", [1, 2], as: integers, [3, 4])
    try process.write("slopes", [4], as: .float32, [Float(1), 2, 3, .infinity])
    try process.write("logits", [4], as: .float32, [Float(1), 2, 3, .nan])
    let delta = ["--strategy", "delta", "--causal"]
    for (arguments, message) in [
      (
        delta + ["--beta", "wide.npy"],
        "--beta wide.npy holds beta[0, 0, 0, 0] = 2.5: must be in 0.0...2.0"
      ),
      (delta + ["--beta", "flat.npy"], "--beta flat.npy has shape [1, 2]; beta is"),
      (["--kv-lengths", "far.npy"], "--kv-lengths far.npy holds 10: "),
      (["--kv-lengths", "one.npy"], "--kv-lengths one.npy holds 1 values: one "),
      (["--kv-lengths", "matrix.npy"], "--kv-lengths matrix.npy has shape [1, 2]; one dimension"),
      (["--kv-lengths", "beta.npy"], "beta.npy: holds float32"),
      (["--query-lengths", "far.npy"], "--query-lengths far.npy holds 10: "),
      (["--prefix-lengths", "far.npy"], "--prefix-lengths far.npy holds 10: "),
      (["--query-offset", "three.npy"], "--query-offset three.npy holds 3 values: "),
      (["--alibi", "slopes.npy"], "--alibi slopes.npy holds inf: must be a finite number"),
      (["--sink-logits", "logits.npy"], "--sink-logits logits.npy holds nan: "),
      (["--cu-seqlens", "three.npy"], "--cu-seqlens three.npy does not fit: it must begin with 0"),
    ] {
      let strategy = arguments.contains("--strategy") ? [] : ["--strategy", "flash"]
      try process.refuse(strategy + arguments, message, code: 1)
    }
    for (arguments, message) in [
      (["--kv-lengths", "10,1"], "--kv-lengths 10: "),
      (["--query-offset", "1,2,3"], "--query-offset 3 values: "),
      (["--alibi", "1,2,3,inf"], "--alibi inf: must be a finite number"),
      (["--cu-seqlens", "1,2,3"], "--cu-seqlens 1,2,3: must begin with 0"),
    ] { try process.refuse(["--strategy", "flash"] + arguments, message) }
    for command in ["verify", "retrieve"] {
      let result = try AttnbenchProcess.run(
        [command, "--n", "8", "--strategy", "flash", "--query-offset", "three.npy"],
        in: process.directory.root)
      #expect(result.code == 1)
      #expect(
        result.error.contains("error: --query-offset three.npy holds 3 values: "), "\(result.error)"
      )
    }
  }
}
