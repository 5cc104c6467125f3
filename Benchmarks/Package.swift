// swift-tools-version: 6.2
import PackageDescription

// Its own package, so that who depends on attnbench builds none of it.
let package = Package(
  name: "attnbench-benchmarks",
  dependencies: [
    .package(name: "attnbench", path: "../"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/ordo-one/TextTable", from: "0.0.2"),
  ],
  targets: [
    // attnbench beside other libraries.
    .target(name: "PeerProtocol"),
    .target(name: "CLinuxCalls"),
    .executableTarget(
      name: "attnbench-peer",
      dependencies: [
        "CLinuxCalls", "PeerProtocol",
        .product(name: "Attention", package: "attnbench"),
        .product(name: "AttentionBench", package: "attnbench"),
        .product(name: "MachineTopology", package: "attnbench"),
        .product(name: "TensorFiles", package: "attnbench"),
      ]),
    .target(
      name: "PeerBench",
      dependencies: [
        "CLinuxCalls", "PeerProtocol",
        .product(name: "Attention", package: "attnbench"),
        .product(name: "AttentionBench", package: "attnbench"),
        .product(name: "MachineTopology", package: "attnbench"),
        .product(name: "TensorFiles", package: "attnbench"),
      ]),
    .executableTarget(
      name: "peers",
      dependencies: [
        "PeerBench",
        .product(name: "Attention", package: "attnbench"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .testTarget(
      name: "PeerBenchTests", dependencies: ["PeerBench", "PeerProtocol"], exclude: ["FakePeer.py"]),

    // The choices of recommend, and the micro-kernels.
    .executableTarget(
      name: "choose-check",
      dependencies: [
        .product(name: "Attention", package: "attnbench"),
        .product(name: "AttentionBench", package: "attnbench"),
        .product(name: "MachineTopology", package: "attnbench"),
        .product(name: "TensorFiles", package: "attnbench"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "TextTable", package: "TextTable"),
      ]),
    .executableTarget(
      name: "kernel-times",
      dependencies: [
        "PeerBench",
        .product(name: "Attention", package: "attnbench"),
        .product(name: "AttentionBench", package: "attnbench"),
        .product(name: "MachineTopology", package: "attnbench"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "TextTable", package: "TextTable"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)
