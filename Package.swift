// swift-tools-version: 6.2
import PackageDescription

// What `import Attention` and `import AttentionBench` bring along, named as well by whoever imports them:
// else a build after a change there keeps code that was made for the old state.
let attention: [Target.Dependency] = [
  "Attention", "AttentionContract", "AttentionEngines", "AttentionKernels", "EarlyStrategies",
  "RecurrentStrategies", "SelectedStrategies", "SoftmaxStrategies", "Tensors",
]
let attentionBench: [Target.Dependency] =
  attention + [
    "AttentionBench", "Choosing", "Measuring", "Records", "Reporting", "Statistics", "Units",
  ]

let package = Package(
  name: "attnbench",
  products: [
    .library(name: "Attention", targets: ["Attention"]),
    .library(name: "AttentionBench", targets: ["AttentionBench"]),
    .library(name: "MachineTopology", targets: ["MachineTopology"]),
    .library(name: "TensorFiles", targets: ["TensorFiles"]),
    .executable(name: "attnbench", targets: ["attnbench"]),
    // `make library` builds it as libattnbench.so.
    .library(name: "AttentionC", type: .dynamic, targets: ["AttentionC"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-numerics", from: "1.1.1"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/ordo-one/TextTable", from: "0.0.2"),
  ],
  targets: [
    // System libraries.
    .systemLibrary(
      name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "CHwloc", pkgConfig: "hwloc", providers: [.apt(["libhwloc-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

    // What did the user mean: shared by every message that names a wrong word.
    .target(name: "Suggestions"),

    // The library people import, from the bottom up.
    .target(name: "CAttentionKernels"),
    .target(
      name: "MachineTopology",
      dependencies: ["CHwloc", .product(name: "SystemPackage", package: "swift-system")]),
    .target(name: "Tensors"),
    .target(
      name: "AttentionKernels",
      dependencies: ["CAttentionKernels", "COpenBLAS", "MachineTopology", "Tensors"]),
    .target(
      name: "AttentionContract",
      dependencies: [
        "AttentionKernels", "CAttentionKernels", "MachineTopology", "Suggestions", "Tensors",
        .product(name: "RealModule", package: "swift-numerics"),
      ]),
    .target(
      name: "AttentionEngines",
      dependencies: [
        "AttentionContract", "AttentionKernels", "CAttentionKernels", "COpenBLAS",
        "MachineTopology", "Tensors", .product(name: "RealModule", package: "swift-numerics"),
      ]),
    .target(
      name: "SoftmaxStrategies",
      dependencies: [
        "AttentionContract", "AttentionEngines", "AttentionKernels", "MachineTopology", "Tensors",
      ]),
    // Whoever calls kernels names them here: else a build after a change of their table keeps old code.
    .target(
      name: "RecurrentStrategies",
      dependencies: [
        "AttentionContract", "AttentionEngines", "AttentionKernels", "CAttentionKernels",
        "MachineTopology", "Tensors",
        .product(name: "RealModule", package: "swift-numerics"),
      ]),
    .target(
      name: "SelectedStrategies",
      dependencies: ["AttentionContract", "AttentionEngines", "AttentionKernels", "Tensors"]),
    .target(
      name: "EarlyStrategies",
      dependencies: [
        "AttentionContract", "AttentionEngines", "AttentionKernels", "MachineTopology",
        "SoftmaxStrategies", "Tensors",
        .product(name: "RealModule", package: "swift-numerics"),
      ]),
    .target(
      name: "Attention",
      dependencies: [
        "AttentionContract", "AttentionEngines", "AttentionKernels", "EarlyStrategies",
        "MachineTopology", "RecurrentStrategies", "SelectedStrategies", "SoftmaxStrategies",
        "Tensors",
      ]),

    // The way in from C; the header is kept by hand and checked by the compiler.
    .target(name: "CAttnbench"),
    .target(name: "AttentionC", dependencies: attention + ["CAttnbench", "MachineTopology"]),

    // The harness and the command.
    .target(
      name: "TensorFiles",
      dependencies: [
        "Suggestions", "Tensors", .product(name: "SystemPackage", package: "swift-system"),
      ]),
    .target(name: "Units", dependencies: attention),
    .target(
      name: "Statistics", dependencies: [.product(name: "RealModule", package: "swift-numerics")]),
    .target(
      name: "Records",
      dependencies: attention + [
        "CZlib", "Statistics", "TensorFiles", "Units",
        .product(name: "SystemPackage", package: "swift-system"),
      ]),
    .target(
      name: "Measuring",
      dependencies: attention + [
        "MachineTopology", "Records", "Statistics", "Suggestions", "TensorFiles", "Units",
        .product(name: "OrderedCollections", package: "swift-collections"),
        .product(name: "RealModule", package: "swift-numerics"),
      ]),
    .target(
      name: "Choosing",
      dependencies: attention + [
        "MachineTopology", "Measuring", "Records", "Statistics", "TensorFiles", "Units",
        .product(name: "RealModule", package: "swift-numerics"),
      ]),
    .target(
      name: "Reporting",
      dependencies: attention + [
        "Choosing", "Measuring", "Records", "Statistics", "TensorFiles", "Units",
        .product(name: "OrderedCollections", package: "swift-collections"),
        .product(name: "RealModule", package: "swift-numerics"),
        .product(name: "SystemPackage", package: "swift-system"),
      ]),
    .target(
      name: "AttentionBench",
      dependencies: ["Choosing", "Measuring", "Records", "Reporting", "Statistics", "Units"]),
    .executableTarget(
      name: "attnbench",
      dependencies: attentionBench + [
        "MachineTopology", "Suggestions", "TensorFiles",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "TextTable", package: "TextTable"),
      ]),

    // Tests.
    .target(
      name: "AttentionTestSupport",
      dependencies: attention + [
        "MachineTopology",
        .product(name: "RealModule", package: "swift-numerics"),
      ],
      path: "Tests/AttentionTestSupport"),
    .testTarget(name: "MachineTopologyTests", dependencies: ["MachineTopology"]),
    .testTarget(name: "TensorFilesTests", dependencies: ["TensorFiles", "Suggestions"]),
    .target(name: "CAllocationCounter", path: "Tests/CAllocationCounter"),
    .target(
      name: "CWideKernels", dependencies: ["CAttentionKernels"], path: "Tests/CWideKernels"),
    .testTarget(
      name: "AttentionTests",
      dependencies: attention + [
        "AttentionTestSupport", "CAllocationCounter", "CAttentionKernels",
        "CWideKernels", "MachineTopology", "TensorFiles",
      ]),
    .testTarget(
      name: "AttentionCTests",
      dependencies: attentionBench + [
        "AttentionC", "AttentionTestSupport", "CAttnbench", "TensorFiles",
      ]),
    .testTarget(
      name: "AttentionBenchTests",
      dependencies: attentionBench + [
        "AttentionTestSupport", "MachineTopology", "TensorFiles",
        .product(name: "SystemPackage", package: "swift-system"),
      ]),
    .testTarget(
      name: "CommandTests",
      dependencies: attentionBench + [
        "AttentionTestSupport", "MachineTopology", "attnbench", "TensorFiles",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c17
)

// In CI our own warnings are errors. Not in the manifest for good: a new compiler's new warning
// must not break a build on somebody's machine.
if Context.environment["ATTNBENCH_WARNINGS_AS_ERRORS"] != nil {
  for target in package.targets where target.type != .system {
    target.swiftSettings = (target.swiftSettings ?? []) + [.treatAllWarnings(as: .error)]
    target.cSettings = (target.cSettings ?? []) + [.treatAllWarnings(as: .error)]
  }
}
